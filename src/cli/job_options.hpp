#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/flags.hpp"
#include "cluster/cluster.hpp"
#include "cost/stack_profile.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// What plan and explain are asked about: a job, and what it shall run on.
struct PlannedJob {
  TrainingJob job;
  Cluster cluster;
  StackProfile profile;
  std::int64_t devices = 0;
  /// What the user left open, as the flags that settle it; and nodes that the cluster lacks.
  std::vector<std::string> assumptions;
};

/// --model and its overrides, --cluster, --gpus, --seq-length, --global-batch-size, --stack,
/// --price.
void add_job_flags(Flags& flags);

/// Reads them; nothing if there is a fault. `devices_of_layout`: what --gpus defaults to where the
/// user gave a whole layout.
std::optional<PlannedJob> read_job(const Flags& flags, Errors& faults,
                                   std::optional<std::int64_t> devices_of_layout = std::nullopt);

/// The sequence length that plan assumes for a model: what its positions allow, at most 8,192.
std::int64_t default_seq_length(const TransformerShape& model);

/// About four million tokens a step, in whole sequences: the devices times a power of two, or a
/// power of two where that has fewer sequences than there are devices.
std::int64_t default_global_batch_size(std::int64_t seq_length, std::int64_t devices);

}  // namespace kumihimo
