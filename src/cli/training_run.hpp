#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "cli/compute_peak.hpp"
#include "cli/training_request.hpp"
#include "data/batches.hpp"
#include "data/token_source.hpp"
#include "engine/pipeline.hpp"
#include "engine/training_state.hpp"
#include "engine/weight_files.hpp"

namespace kumihimo {

/// A request with its data at hand, and what it starts from. What the ranks of a process share.
struct TrainingRun {
  TrainingRequest request;
  std::unique_ptr<TokenSource> tokens;
  SampleOrder order;
  std::string data;  ///< data_identity of the tokens
  std::optional<ResumableState> state;
  std::optional<TensorFiles> weights;

  /// Steps that were done before this run.
  std::int64_t first_step() const { return state ? state->manifest.step : 0; }
};

/// Opens the request's data, state and weights. Errors where data are unreadable, too short or
/// beyond the model's vocabulary, where state or weights are damaged or not the model's, and where
/// saving would mix with the states of another run.
Expected<TrainingRun> open_training_run(const TrainingRequest& request);

/// Refers to `run`.
ReadSamples sample_reader(const TrainingRun& run);

/// A number below 2^52 that differs between runs whose results would differ: for ranks of several
/// processes to compare, as numbers that a double holds exactly.
std::int64_t fingerprint(const TrainingRun& run);

/// What the ranks turned out to be, once they stood.
struct RankSetup {
  std::string_view backend;  ///< World::backend
  int ranks = 1;
  std::string kernels;
  ComputePeak peak;
  Gpu* gpu = nullptr;  ///< of this rank, where it has one; for as long as it trains

  bool emulated() const { return backend == "emulated"; }
};

/// How training ended, on all ranks alike.
struct TrainingEnd {
  bool interrupted = false;
  std::optional<std::string> failure;          ///< why it could not go on, where it could not
  std::optional<std::filesystem::path> saved;  ///< the newest state that this run has saved
};

}  // namespace kumihimo
