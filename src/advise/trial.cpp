#include "advise/trial.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "layout/canonical.hpp"
#include "layout/validate.hpp"
#include "search/layout_judge.hpp"

namespace kumihimo {
namespace {

constexpr double step_noise = 0.02;     // of a step time, one standard deviation
constexpr double trusted_share = 0.25;  // of the gain, by which a smaller trial may be off

/// An outcome on a fraction of its replicas; nothing where that cannot run.
std::optional<TrialRun> scaled(const AdviceRequest& request, const std::vector<Machine>& machines,
                               const Outcome& outcome, int divisor, TrialPart part) {
  const Machine& machine = machines[outcome.machine];
  ParallelLayout layout = outcome.ranked.layout;
  if (layout.data_parallel % divisor != 0 || request.job.global_batch_size % divisor != 0) {
    return std::nullopt;
  }
  layout.data_parallel /= divisor;
  if (layout.zero_group > layout.data_parallel) layout.zero_group = 0;
  layout = canonical(layout);
  TrainingJob job = request.job;
  job.global_batch_size /= divisor;
  const SearchRequest small{.job = job,
                            .cluster = machine.cluster,
                            .profile = machine.profile,
                            .devices = layout.devices(),
                            .min_fits_probability = request.min_fits_probability};
  if (LayoutJudge(small).fault_of(layout)) return std::nullopt;
  const Prediction prediction = predict(job, layout, machine.cluster, machine.profile);
  // Fewer replicas shard optimizer states less: the trial itself must fit.
  if (divisor > 1 && !fits(prediction, small)) return std::nullopt;
  return TrialRun{.part = part,
                  .machine = outcome.machine,
                  .devices = layout.devices(),
                  .global_batch_size = job.global_batch_size,
                  .layout = layout,
                  .step_s = prediction.step_s};
}

/// The measurements of a trial at one size; empty where one of the two runs is impossible.
ConfirmingTrial trial_of(const AdviceRequest& request, const std::vector<Machine>& machines,
                         const Outcome& before, const Outcome& after, const Outcome* kept,
                         int divisor) {
  ConfirmingTrial trial;
  const auto first = scaled(request, machines, before, divisor, TrialPart::before);
  const auto last = scaled(request, machines, after, divisor, TrialPart::after);
  if (!first || !last) return trial;
  trial.measurements = {*first, *last};
  trial.expected_gain = first->step_s / last->step_s - 1;
  if (kept != nullptr) {
    if (const auto own = scaled(request, machines, *kept, divisor, TrialPart::after_kept)) {
      trial.measurements.push_back(*own);
    }
  }
  return trial;
}

}  // namespace

int trial_steps(double gain) {
  const double wanted = 32 * step_noise * step_noise / (gain * gain);
  return static_cast<int>(std::clamp(std::ceil(wanted), 10.0, 200.0));
}

ConfirmingTrial smallest_trial(const AdviceRequest& request, const std::vector<Machine>& machines,
                               const Outcome& before, const Outcome& after, const Outcome* kept) {
  const double full_gain = before.ranked.prediction.step_s / after.ranked.prediction.step_s - 1;
  const int most = std::gcd(before.ranked.layout.data_parallel, after.ranked.layout.data_parallel);
  ConfirmingTrial chosen;
  for (int divisor = most; divisor >= 1; --divisor) {
    if (most % divisor != 0) continue;
    ConfirmingTrial trial = trial_of(request, machines, before, after, kept, divisor);
    if (trial.measurements.empty()) continue;
    const bool agrees =
        std::abs(trial.expected_gain - full_gain) <= trusted_share * std::abs(full_gain);
    if (agrees || divisor == 1) {
      chosen = std::move(trial);
      break;
    }
  }
  chosen.full_gain = full_gain;
  const int steps = trial_steps(chosen.expected_gain) + trial_warm_up_steps;
  for (TrialRun& measurement : chosen.measurements) {
    measurement.steps = steps;
    measurement.device_hours =
        measurement.step_s * steps * static_cast<double>(measurement.devices) / 3600;
    chosen.device_hours += measurement.device_hours;
  }
  return chosen;
}

}  // namespace kumihimo
