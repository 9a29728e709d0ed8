#pragma once

#include <cstdint>
#include <vector>

#include "advise/option_values.hpp"

namespace kumihimo {

enum class TrialPart : std::uint8_t {
  before,
  after,
  after_kept,  ///< the change without a new layout: tells what each of the two brings
};

/// One run of a few steps.
struct TrialRun {
  TrialPart part = TrialPart::before;
  std::size_t machine = 0;
  std::int64_t devices = 0;
  std::int64_t global_batch_size = 0;
  ParallelLayout layout;
  double step_s = 0;  ///< predicted
  int steps = 0;      ///< warm-up included
  double device_hours = 0;
};

/// The smallest trial that would confirm a step.
struct ConfirmingTrial {
  std::vector<TrialRun> measurements;
  double device_hours = 0;
  double full_gain = 0;      ///< predicted at full size: step time before / after - 1
  double expected_gain = 0;  ///< predicted in the trial
};

inline constexpr int trial_warm_up_steps = 5;

/// Steps to time in each run, so that a relative `gain` is four times the standard error of the
/// difference of two means, where step times vary by 2 %: 32 x 0.02^2 / gain^2, from 10 to 200.
int trial_steps(double gain);

/// The fewest replicas (data parallelism divided by a whole number, the global batch with it) at
/// which the predicted gain is within a quarter of that at full size; full size where none is.
/// `kept`: the outcome of the change without a new layout, or null.
ConfirmingTrial smallest_trial(const AdviceRequest& request, const std::vector<Machine>& machines,
                               const Outcome& before, const Outcome& after, const Outcome* kept);

}  // namespace kumihimo
