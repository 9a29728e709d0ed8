#pragma once

#include <filesystem>
#include <vector>

#include "base/error.hpp"
#include "runs/measured_run.hpp"
#include "store/store.hpp"

namespace kumihimo {

/// Whether the file is an SQLite database, by its first bytes.
bool is_database(const std::filesystem::path& path);

/// The trials of a store that ran or failed, as measured runs: what read_runs gives for a run file.
/// Those of a sweep carry the machine that was measured, with the memory that a rank was given.
Expected<std::vector<MeasuredRun>> read_stored_runs(const std::filesystem::path& path);
/// Those of one study, from a store that is open.
Expected<std::vector<MeasuredRun>> stored_runs(Store& store, const Study& study);

}  // namespace kumihimo
