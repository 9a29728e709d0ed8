#pragma once

#include <functional>
#include <limits>
#include <stop_token>

#include "sweep/strategy.hpp"

namespace kumihimo {

/// What a study may spend, counted over all its sessions.
struct Budget {
  double trials = std::numeric_limits<double>::infinity();
  double seconds = std::numeric_limits<double>::infinity();
  double device_hours = std::numeric_limits<double>::infinity();
};

struct LoopHooks {
  /// Seconds that the study has taken; unset: the sum of its trials' durations.
  std::function<double()> spent_s;
  /// Called before a trial, and after it with its outcome.
  std::function<void(const Choice&)> before;
  std::function<void(const TriedCandidate&, const Strategy&)> after;
};

/// Why a study ended: the strategy's own reason, a spent budget, or an interruption.
enum class EndKind { strategy, budget, interrupted };
struct StudyEnd {
  EndKind kind = EndKind::strategy;
  std::string reason;
};

/// Lets `strategy` choose and `runner` run until there is an end. Replay and sweep are this loop
/// with another runner. A trial that comes back cancelled is not counted as tried.
StudyEnd run_study(StudySoFar& study, Strategy& strategy, TrialRunner& runner, const Budget& budget,
                   const LoopHooks& hooks = {}, std::stop_token stop = {});

}  // namespace kumihimo
