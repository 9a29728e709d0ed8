#pragma once

#include <string>

#include "engine/training_options.hpp"
#include "tensor/device_memory.hpp"

namespace kumihimo {

struct MemoryPrediction {
  MemoryByCategory bytes;  ///< of each category, the most that any rank is predicted to hold
  Bytes offloaded = 0;     ///< in host memory, likewise
  std::string profile;     ///< of the stack that was assumed
};

/// The planner's prediction of what a run measures. Requires options without faults.
MemoryPrediction predict_training_memory(const TrainingOptions& options);

}  // namespace kumihimo
