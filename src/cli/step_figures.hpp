#pragma once

#include <cstdint>
#include <vector>

#include "engine/trainer.hpp"

namespace kumihimo {

/// FLOPs and tokens of a training step.
struct StepWork {
  double tokens = 0;
  double model_flops = 0;         ///< full attention count, as published MFU figures
  double model_flops_causal = 0;  ///< half the attention
  double executed_flops = 0;      ///< model_flops with what is recomputed
};

StepWork work_of_step(const TrainingOptions& options);

/// What a step, or several, came to against a peak.
struct StepFigures {
  double tokens_per_s = 0;
  double mfu = 0;
  double mfu_causal = 0;
  double hfu = 0;
};

StepFigures figures_of(const StepWork& work, double step_time_s, double peak_flop_per_s);

/// Communication that ranks waited for, beside the messages of a pipeline.
double exposed_communication_s(const StepTimes& times);

/// A run's steps, of which the first are left out of the times.
class StepStatistics {
 public:
  explicit StepStatistics(std::int64_t warmup_steps) : warmup_steps_(warmup_steps) {}

  void add(const StepReport& report);

  std::int64_t steps() const { return steps_; }
  std::int64_t timed_steps() const { return static_cast<std::int64_t>(step_times_s_.size()); }
  const StepReport& first() const { return first_; }
  const StepReport& last() const { return last_; }
  /// Step time that this share of the timed steps stays below. Requires a timed step.
  double step_time_quantile_s(double share) const;
  double median_step_time_s() const { return step_time_quantile_s(0.5); }
  /// A timed step's mean over ranks and steps.
  StepTimes mean_times() const;

 private:
  std::int64_t warmup_steps_;
  std::int64_t steps_ = 0;
  StepReport first_, last_;
  std::vector<double> step_times_s_;
  StepTimes sum_;
};

}  // namespace kumihimo
