#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace kumihimo {

// Saved training states are folders "step-00000100" of one folder. A state is written into
// "step-00000100.partial" and renamed when its manifest, which lists every file with its length and
// XXH3 checksum, is on the disk: what has the final name is whole, and a kill at any moment leaves
// the states before it.

struct SavedFile {
  std::string name;
  std::int64_t bytes = 0;
  std::uint64_t checksum = 0;  ///< XXH3, 64 bits
};

/// What a state says of the run that wrote it, beside its tensors.
struct Manifest {
  std::int64_t step = 0;              ///< steps done
  std::int64_t samples_consumed = 0;  ///< place in the data
  std::string layout;                 ///< to_text of the layout that wrote it: for people
  std::string run;                    ///< JSON: flags that must not change on resume
  std::vector<SavedFile> files;
};

/// XXH3 of a whole file, read in pieces. Throws std::system_error.
std::uint64_t checksum_of(const std::filesystem::path& file);

std::filesystem::path state_path(const std::filesystem::path& folder, std::int64_t step);
/// Where a state stands while it is being written.
std::filesystem::path partial_path(const std::filesystem::path& folder, std::int64_t step);
/// Makes partial_path, an empty folder, and returns it; removes what interrupted saves and removals
/// have left: one folder of states belongs to one run at a time. By one rank, before the others
/// write. Throws std::system_error.
std::filesystem::path begin_state(const std::filesystem::path& folder, std::int64_t step);
/// Checksums `files` of the partial state, writes the manifest, syncs, renames; a state of the same
/// step gives way. Then removes the oldest states beyond `keep` (0: all stay), but none of this
/// step or later ones, which a run resumed from an early state finds. `manifest` needs no step and
/// no files. By one rank, after the others have written. Throws std::system_error.
void commit_state(const std::filesystem::path& folder, std::int64_t step, Manifest manifest,
                  const std::vector<std::string>& files, int keep);

/// The newest whole state in `folder`, or nothing where there is none.
std::optional<std::filesystem::path> newest_state(const std::filesystem::path& folder);

/// Reads a manifest, which carries a checksum of its own, and checks every file's length;
/// `verify_checksums` reads them whole too. Each fault says which file is damaged and which older
/// state could be used instead.
Expected<Manifest> open_state(const std::filesystem::path& state, bool verify_checksums);

}  // namespace kumihimo
