#include "cli/run_options.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

#include "calibrate/stack_of_runs.hpp"
#include "cost/stack_profile_file.hpp"
#include "sweep/stored_runs.hpp"

namespace kumihimo {

std::vector<MeasuredRun> read_run_files(const Flags& flags, std::string_view flag, Errors& faults) {
  const std::vector<std::string> paths = flags.texts(flag, faults);
  if (!flags.given(flag)) {
    faults.push_back({std::string(flag), "is missing",
                      fmt::format("name at least one run file: {} runs.csv", flag)});
  }
  std::vector<MeasuredRun> runs;
  for (const std::string& path : paths) {
    Expected<std::vector<MeasuredRun>> read =
        is_database(path) ? read_stored_runs(path) : read_runs(path);
    collect(faults, read);
    if (!read) continue;
    if (read->empty()) {
      faults.push_back({path, "holds a header line but no row", "give a file with measured runs"});
    }
    std::move(read->begin(), read->end(), std::back_inserter(runs));
  }
  return runs;
}

std::optional<StackProfile> read_stack_flag(const Flags& flags, std::string_view flag,
                                            std::string_view name, Errors& faults) {
  Expected<StackProfile> profile =
      read_stack_profile(flags.text(flag, faults).value_or(std::string(name)));
  collect(faults, profile);
  if (!profile) return std::nullopt;
  return *std::move(profile);
}

std::optional<StackProfile> read_stack_of_runs(const Flags& flags,
                                               const std::vector<MeasuredRun>& runs,
                                               Errors& faults) {
  return read_stack_flag(flags, "--stack", flags.given("--stack") ? "" : stack_of_runs(runs),
                         faults);
}

std::string file_names_text(const std::vector<MeasuredRun>& runs) {
  std::vector<std::string> names;
  for (const MeasuredRun& run : runs) {
    if (std::find(names.begin(), names.end(), run.file) == names.end()) names.push_back(run.file);
  }
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 < names.size() ? ", " : " and ";
    text += names[i];
  }
  return text;
}

}  // namespace kumihimo
