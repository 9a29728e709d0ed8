#pragma once

#include <nlohmann/json_fwd.hpp>

#include "calibrate/validation.hpp"
#include "cli/job_options.hpp"
#include "cli/plan_text.hpp"
#include "simulator/predict.hpp"

namespace kumihimo {

// Pieces of the documents that docs/json.md describes.

nlohmann::ordered_json model_json(const TransformerShape& model);
nlohmann::ordered_json cluster_json(const Cluster& cluster);
nlohmann::ordered_json stack_json(const StackProfile& profile);
/// model, cluster, stack, gpus, seq_length, global_batch_size and what was assumed.
nlohmann::ordered_json job_json(const PlannedJob& planned);
/// What the runs of a group have in common; the figures of the group follow.
nlohmann::ordered_json group_json(const RunGroup& group);
nlohmann::ordered_json layout_json(const ParallelLayout& layout);
nlohmann::ordered_json memory_json(const MemoryUse& use);
nlohmann::ordered_json prediction_json(const Prediction& prediction);

/// The document of `plan --json`.
nlohmann::ordered_json plan_json(const Plan& plan);

}  // namespace kumihimo
