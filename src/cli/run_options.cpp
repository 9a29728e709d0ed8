#include "cli/run_options.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <functional>
#include <iterator>
#include <utility>

#include "base/number_text.hpp"
#include "cli/table.hpp"
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

std::string reason_lines(const std::map<std::string, std::int64_t>& reasons) {
  constexpr std::size_t most_reasons = 8;
  std::vector<std::pair<std::string, std::int64_t>> sorted(reasons.begin(), reasons.end());
  std::ranges::stable_sort(sorted, std::greater{}, &std::pair<std::string, std::int64_t>::second);
  Table table{{{"", Align::right}, {""}}, {}};
  std::int64_t others = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (i < most_reasons) {
      table.rows.push_back({grouped(sorted[i].second), sorted[i].first});
    } else {
      others += sorted[i].second;
    }
  }
  if (others > 0) table.rows.push_back({grouped(others), "for other reasons (--json lists them)"});
  return to_text(table, 4);
}

}  // namespace kumihimo
