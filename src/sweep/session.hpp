#pragma once

#include <optional>
#include <string>

#include "sweep/process_trials.hpp"
#include "sweep/study_loop.hpp"

namespace kumihimo {

/// A control: the layout that ran first, run again.
struct Drift {
  std::int64_t controls = 0;
  double last = 0;     ///< its newest step time over the first, less 1
  double largest = 0;  ///< by magnitude, of all controls
};

/// What a study has shown so far.
struct Conclusion {
  std::optional<std::size_t> best;  ///< candidate
  double best_step_s = 0;
  double best_mfu = 0;
  double sureness = 0;  ///< that no layout that was not tried is faster by more than 1 %
  std::int64_t tried = 0;
  std::int64_t untried = 0;
  /// Of these the least likely to fit are not worth a trial: probability below 1 %.
  std::int64_t untried_unfit = 0;
  Drift drift;
  /// Forecasts against what was measured, of trials that ran: mean |predicted / measured - 1|.
  std::optional<double> forecast_error;
  std::int64_t forecasts = 0;
};

/// Candidates that a study's stored trials are about, for a strategy that goes on. Trials of
/// layouts that are no candidates, controls, and cancelled ones are left out.
StudySoFar resume_study(std::span<const Candidate> candidates, std::span<const Trial> trials);

Drift drift_of(std::span<const Trial> trials);

/// `base`: the profile before any trial; `beliefs`: after the last.
Conclusion conclude(const StudySoFar& study, std::span<const Trial> trials,
                    const StackProfile& base, const Beliefs& beliefs);

/// The layout to repeat as a control after so many trials, and which repetition that is; nothing if
/// none is due. Due after every `every` trials.
struct Control {
  std::size_t candidate = 0;
  std::int64_t repetition = 1;
};
std::optional<Control> due_control(const StudySoFar& study, std::span<const Trial> trials,
                                   std::int64_t every);

}  // namespace kumihimo
