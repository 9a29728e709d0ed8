#include "cli/step_figures.hpp"

#include <algorithm>
#include <cmath>

#include "model/parameters.hpp"

namespace kumihimo {

StepWork work_of_step(const TrainingOptions& options) {
  const TrainingJob& job = options.job;
  const auto per_token = [&](AttentionCount count) {
    return model_flops_per_token(job.model, job.seq_length, count);
  };
  StepWork work;
  work.tokens = static_cast<double>(job.global_batch_size) * static_cast<double>(job.seq_length);
  work.model_flops = per_token(AttentionCount::full) * work.tokens;
  work.model_flops_causal = per_token(AttentionCount::causal) * work.tokens;
  work.executed_flops =
      work.model_flops +
      recomputed_flops_per_token(job.model, job.seq_length, options.layout.recompute, false) *
          work.tokens;
  return work;
}

StepFigures figures_of(const StepWork& work, double step_time_s, double peak_flop_per_s) {
  const double possible = step_time_s * peak_flop_per_s;
  return {work.tokens / step_time_s, work.model_flops / possible,
          work.model_flops_causal / possible, work.executed_flops / possible};
}

double exposed_communication_s(const StepTimes& times) {
  return times[Activity::tensor_communication] + times[Activity::data_communication];
}

void StepStatistics::add(const StepReport& report) {
  if (steps_++ == 0) first_ = report;
  last_ = report;
  if (steps_ <= warmup_steps_) return;
  step_times_s_.push_back(report.step_time_s);
  for (std::size_t i = 0; i < sum_.seconds.size(); ++i) {
    sum_.seconds[i] += report.mean_times.seconds[i];
  }
  sum_.overlapped_s += report.mean_times.overlapped_s;
}

double StepStatistics::step_time_quantile_s(double share) const {
  KUMIHIMO_CHECK(!step_times_s_.empty());
  std::vector<double> sorted = step_times_s_;
  std::ranges::sort(sorted);
  // Between the two nearest, as numpy's default.
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

StepTimes StepStatistics::mean_times() const {
  StepTimes mean = sum_;
  const double steps = static_cast<double>(std::max<std::int64_t>(1, timed_steps()));
  for (double& seconds : mean.seconds) seconds /= steps;
  mean.overlapped_s /= steps;
  return mean;
}

}  // namespace kumihimo
