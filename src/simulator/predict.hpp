#pragma once

#include <vector>

#include "cost/step_cost.hpp"
#include "simulator/simulate.hpp"

namespace kumihimo {

/// What a training step of one layout is predicted to take.
struct Prediction {
  double step_s = 0;
  double mfu = 0;         ///< full attention count (12 L h s): the PaLM and founding paper's
  double mfu_causal = 0;  ///< half the attention term, as Megatron since 2025 prints
  double hfu = 0;         ///< mfu with what is recomputed
  double tokens_per_s_per_device = 0;
  double bubble_fraction = 0;         ///< idle / step
  double communication_fraction = 0;  ///< exposed communication / step
  std::vector<MemoryUse> memory;      ///< peak, by pipeline rank
  double peak_memory_bytes = 0;       ///< of the fullest rank
  double fits_probability = 0;        ///< that the fullest rank stays within the device's memory
  double host_bytes_of_node = 0;      ///< offloaded states on the fullest node's host
  double error_band = 0;              ///< one standard deviation of log step time
};

/// Predicts a valid layout (faults() is empty).
Prediction predict(const TrainingJob& job, const ParallelLayout& layout, const Cluster& cluster,
                   const StackProfile& profile);

/// The same from pieces and schedule that the caller keeps.
Prediction predict(const PieceCosts& pieces, const Schedule& schedule, const TrainingJob& job,
                   const ParallelLayout& layout, const Cluster& cluster,
                   const StackProfile& profile);

}  // namespace kumihimo
