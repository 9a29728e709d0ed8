#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/flags.hpp"
#include "cost/stack_profile.hpp"
#include "runs/measured_run.hpp"

namespace kumihimo {

/// All rows of the run files that `flag` names, in their order; empty if there is a fault.
std::vector<MeasuredRun> read_run_files(const Flags& flags, std::string_view flag, Errors& faults);

/// The profile that `flag` names; `name` where it is not given.
std::optional<StackProfile> read_stack_flag(const Flags& flags, std::string_view flag,
                                            std::string_view name, Errors& faults);

/// The profile that --stack names; without it, that of the stack of most of these runs.
std::optional<StackProfile> read_stack_of_runs(const Flags& flags,
                                               const std::vector<MeasuredRun>& runs,
                                               Errors& faults);

/// "validate: 550 rows of a.csv and b.csv".
std::string file_names_text(const std::vector<MeasuredRun>& runs);

}  // namespace kumihimo
