#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cluster/cluster.hpp"
#include "cost/stack_profile.hpp"
#include "runs/measured_run.hpp"
#include "simulator/predict.hpp"

namespace kumihimo {

/// A measured run, completed by a profile's defaults and ready to be predicted again and again
/// with other rates.
struct PredictableRun {
  MeasuredRun run;
  Cluster cluster;
  Schedule schedule;
  std::string reason;  ///< why it cannot be predicted; empty if it can

  bool usable() const { return reason.empty(); }
};

/// Completes each run and finds its cluster in the catalog by gpu_type, resized to the run's
/// devices per node. What cannot be predicted keeps its reason.
std::vector<PredictableRun> prepare_runs(std::vector<MeasuredRun> runs,
                                         const FrameworkDefaults& defaults);

/// Requires run.usable().
Prediction predict(const PredictableRun& run, const StackProfile& profile);

/// What a step of the run costs, before it is played. Requires run.usable().
StepCost step_cost(const PredictableRun& run, const StackProfile& profile);

/// predict()'s peak_memory_bytes, without playing the step. Requires run.usable().
double predict_peak_memory(const PredictableRun& run, const StackProfile& profile);

}  // namespace kumihimo
