#pragma once

#include <optional>

#include "cli/flags.hpp"
#include "cli/job_options.hpp"
#include "search/constraints.hpp"

namespace kumihimo {

/// Flags that narrow the search: --tp, --recompute, --max-memory, ...
void add_constraint_flags(Flags& flags);

/// --objective and --tokens.
void add_objective_flags(Flags& flags);

Constraints read_constraints(const Flags& flags, Errors& faults);

/// Reads what add_objective_flags added into `constraints`.
void read_objective(const Flags& flags, Constraints& constraints, Errors& faults);

/// "1T", "300B", "2e12" of --tokens.
std::optional<double> read_tokens(const Flags& flags, Errors& faults);

/// Refuses fewer tokens than one step of the job trains on.
void judge_tokens(std::optional<double> tokens, const TrainingJob& job, Errors& faults);

/// The search for `planned` under `constraints`. Adds to `faults` what they make impossible.
SearchRequest make_request(const PlannedJob& planned, const Constraints& constraints,
                           Errors& faults);

}  // namespace kumihimo
