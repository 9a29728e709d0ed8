#include "sweep/study_loop.hpp"

#include <fmt/format.h>

namespace kumihimo {
namespace {

std::optional<std::string> spent_budget(const StudySoFar& study, const Budget& budget,
                                        const LoopHooks& hooks) {
  double seconds = 0;
  for (const TriedCandidate& trial : study.tried) seconds += trial.outcome.duration_s;
  if (hooks.spent_s) seconds = hooks.spent_s();
  if (static_cast<double>(study.tried.size()) >= budget.trials) return "budget of trials is spent";
  if (seconds >= budget.seconds) return "budget of time is spent";
  if (study.device_hours() >= budget.device_hours) return "budget of device-hours is spent";
  return std::nullopt;
}

}  // namespace

StudyEnd run_study(StudySoFar& study, Strategy& strategy, TrialRunner& runner, const Budget& budget,
                   const LoopHooks& hooks, std::stop_token stop) {
  while (true) {
    const Choice choice = strategy.next(study);
    if (!choice.candidate) return {EndKind::strategy, choice.reason};
    if (stop.stop_requested()) return {EndKind::interrupted, "interrupted"};
    if (const auto spent = spent_budget(study, budget, hooks)) return {EndKind::budget, *spent};
    if (hooks.before) hooks.before(choice);
    TriedCandidate trial{*choice.candidate, runner.run(*choice.candidate)};
    if (trial.outcome.state == TrialState::cancelled) return {EndKind::interrupted, "interrupted"};
    study.add(trial);
    if (hooks.after) hooks.after(trial, strategy);
  }
}

}  // namespace kumihimo
