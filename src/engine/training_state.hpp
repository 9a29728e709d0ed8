#pragma once

#include <filesystem>
#include <string_view>

#include "base/error.hpp"
#include "engine/tensor_files.hpp"
#include "engine/trainer.hpp"
#include "saved_state/state_folder.hpp"

namespace kumihimo {

// Saved training states; docs/saved-state.md describes the files. `data` says in one line what is
// trained on, such as data_identity(): a run is resumed with the same.

/// A whole state from which the given options can go on.
struct ResumableState {
  std::filesystem::path path;
  Manifest manifest;
  TensorFiles tensors;
};

/// Judges a state before any rank starts. `given` is a state, or a folder of states, of which the
/// newest is taken. Errors: there is none; a file is damaged (an older state is named); the run
/// that wrote it trained something else, with every difference and the flag that mends it. What may
/// differ: layout, precision, kernels, learning rate and the optimizer's numbers.
/// `verify_checksums` reads all files.
Expected<ResumableState> inspect_state(const std::filesystem::path& given,
                                       const TrainingOptions& options, std::string_view data,
                                       bool verify_checksums);

/// Saves the state after steps_done() steps as a state of `folder` and removes the oldest beyond
/// `keep` (0: all stay). Called by all ranks, which see the same file system; returns when the
/// state is whole. Throws std::system_error, and PeerFailure on the other ranks; what was saved
/// before is then untouched.
void save_training_state(Trainer& trainer, const std::filesystem::path& folder, int keep,
                         std::string_view data);

/// Goes on from a state that inspect_state has found good for the trainer's options, whatever
/// layout wrote it. In the same layout every later step has the bits it would have had. Called by
/// all ranks, before the first step. Throws std::system_error, or std::runtime_error where a file
/// has changed since it was inspected.
void resume_training(Trainer& trainer, const ResumableState& state);

}  // namespace kumihimo
