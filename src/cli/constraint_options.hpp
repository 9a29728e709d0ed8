#pragma once

#include <optional>

#include "cli/flags.hpp"
#include "cli/job_options.hpp"
#include "search/search.hpp"

namespace kumihimo {

/// Flags that narrow the search: --tp, --recompute, --max-memory, ...
void add_constraint_flags(Flags& flags);

/// --objective and --tokens.
void add_objective_flags(Flags& flags);

/// What the user asked of the search; a list left empty keeps the default space's values.
struct Constraints {
  std::vector<int> tensor_parallel;
  std::vector<int> pipeline_parallel;
  std::vector<int> context_parallel;
  std::vector<int> data_parallel;
  std::vector<int> micro_batch_size;
  std::vector<ScheduleKind> schedules;
  std::vector<int> virtual_stages;
  std::vector<Recompute> recompute;
  std::vector<bool> sequence_parallel;
  std::vector<int> zero_stage;
  std::vector<AttentionKernel> attention;
  std::vector<NormKernel> norm;
  std::vector<Precision> precision;
  std::vector<Offload> offload;
  std::optional<double> max_memory_bytes;
  std::optional<double> min_fits_probability;
  std::optional<Objective> objective;
  std::optional<double> tokens;  ///< to train in all, for Objective::total_time
  std::optional<int> threads;
};

Constraints read_constraints(const Flags& flags, Errors& faults);

/// Reads what add_objective_flags added into `constraints`.
void read_objective(const Flags& flags, Constraints& constraints, Errors& faults);

/// "1T", "300B", "2e12" of --tokens.
std::optional<double> read_tokens(const Flags& flags, Errors& faults);

/// The search for `planned` under `constraints`. Adds to `faults` what they make impossible.
SearchRequest make_request(const PlannedJob& planned, const Constraints& constraints,
                           Errors& faults);

}  // namespace kumihimo
