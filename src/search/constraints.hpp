#pragma once

#include <optional>
#include <vector>

#include "search/search.hpp"

namespace kumihimo {

/// What a user asks of the search; a list left empty keeps the default space's values.
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
  std::vector<int> zero_group;
  std::vector<AttentionKernel> attention;
  std::vector<NormKernel> norm;
  std::vector<Precision> precision;
  std::vector<Precision> gradient_dtype;
  std::vector<bool> overlap_data_parallel;
  std::vector<bool> overlap_tensor_parallel;
  std::vector<Offload> offload;
  std::optional<double> max_memory_bytes;
  std::optional<double> min_fits_probability;
  std::optional<Objective> objective;  ///< else MFU, or step time where precisions compete
  std::optional<double> tokens;        ///< to train in all, for Objective::total_time
  std::optional<int> threads;
};

/// Gives `request`, whose job, machine and devices are set, the default space narrowed to what is
/// wanted, and its limits. Adds to `faults` what they make impossible, under the names of the flags
/// that set them; request_faults() is left to the caller.
void constrain(SearchRequest& request, const Constraints& wanted, Errors& faults);

/// Adds to `faults` flags by which no layout of the constrained request can run, however the others
/// stand: a kernel that the device lacks, degrees that do not make up the devices. A search would
/// say so too, after the fact and without a remedy.
void judge_constraints(const SearchRequest& request, const Constraints& wanted, Errors& faults);

}  // namespace kumihimo
