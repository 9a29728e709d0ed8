#include "cli/memory_prediction.hpp"

#include <algorithm>
#include <cmath>

#include "cli/this_machine.hpp"
#include "cost/stack_profile_file.hpp"
#include "simulator/predict.hpp"

namespace kumihimo {
namespace {

/// The profile of this engine on CPUs, where the catalog has one.
StackProfile trainer_profile() {
  auto profile = read_stack_profile("kumihimo-cpu");
  if (!profile) profile = read_stack_profile("uncalibrated");
  KUMIHIMO_CHECK(profile.has_value());  // it is embedded
  return *std::move(profile);
}

/// The planner counts AdamW's states: a master copy unless weights are fp32, and two moments. SGD
/// has one.
double optimizer_share(const TrainingOptions& options) {
  if (options.optimizer.kind == OptimizerKind::adamw) return 1;
  return storage_dtype(options.layout.precision) == DType::fp32 ? 1.0 / 2 : 2.0 / 3;
}

}  // namespace

MemoryPrediction predict_training_memory(const TrainingOptions& options) {
  const StackProfile profile = trainer_profile();
  const Prediction prediction =
      predict(options.job, options.layout, this_machine(options.layout.devices()), profile);
  MemoryPrediction result{.profile = profile.name};
  for (const MemoryUse& use : prediction.memory) {
    const auto most = [&](MemoryCategory category, double bytes) {
      Bytes& highest = result.bytes[category];
      highest = std::max(highest, static_cast<Bytes>(std::llround(bytes)));
    };
    result.offloaded = std::max(
        result.offloaded, static_cast<Bytes>(std::llround(use.host * optimizer_share(options))));
    most(MemoryCategory::weights, static_cast<double>(use.weights));
    most(MemoryCategory::gradients, static_cast<double>(use.gradients));
    most(MemoryCategory::optimizer, static_cast<double>(use.optimizer) * optimizer_share(options));
    most(MemoryCategory::activations, use.activations);
    most(MemoryCategory::communication, use.communication);
    most(MemoryCategory::workspace, use.workspace);
  }
  return result;
}

}  // namespace kumihimo
