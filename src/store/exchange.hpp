#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/store.hpp"

// Trials in and out of a store: run files, which published runs have too, and JSON lines, which
// lose nothing.

namespace kumihimo {

/// A trial with the steps that were measured.
struct ExchangedTrial {
  std::string study;
  Trial trial;
  std::vector<StepSample> steps;
};

/// Rows of a run file: trials that ran or failed. Timeouts count as errors; what is running, was
/// cancelled or was not tried is left out, since it says nothing. The source of emulated ones ends
/// in ", emulated".
std::vector<RunRow> exported_rows(std::span<const Trial> trials);

/// Trials of rows of a run file: quoted, unless `clock` says that they are one's own, or the source
/// that they were emulated.
std::vector<Trial> imported_trials(std::span<const RunRow> rows, TrialClock clock);

/// One line kumihimo.trial/1 (docs/json.md), ended by a newline.
std::string trial_json_line(const ExchangedTrial& trial);

/// Reads such lines. All faults at once, each with its line; twenty are listed.
Expected<std::vector<ExchangedTrial>> parse_trial_lines(std::string_view text,
                                                        std::string_view where);

}  // namespace kumihimo
