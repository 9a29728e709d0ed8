#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/flags.hpp"
#include "cost/stack_profile.hpp"
#include "runs/measured_run.hpp"

namespace kumihimo {

/// The profile that commands on measured runs take unless they are told.
inline constexpr std::string_view default_runs_stack = "megatron-2023-a100";

/// All rows of the run files that `flag` names, in their order; empty if there is a fault.
std::vector<MeasuredRun> read_run_files(const Flags& flags, std::string_view flag, Errors& faults);

/// The profile that `flag` names; `name` where it is not given.
std::optional<StackProfile> read_stack_flag(const Flags& flags, std::string_view flag,
                                            std::string_view name, Errors& faults);

/// "validate: 550 rows of a.csv and b.csv".
std::string file_names_text(const std::vector<MeasuredRun>& runs);

}  // namespace kumihimo
