#include "sweep/session.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "layout/layout_text.hpp"
#include "sweep/sureness.hpp"

namespace kumihimo {

StudySoFar resume_study(std::span<const Candidate> candidates, std::span<const Trial> trials) {
  StudySoFar study(candidates);
  std::map<std::string, std::size_t> places;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    places.emplace(to_text(candidates[i].run.layout), i);
  }
  for (const Trial& trial : trials) {
    if (trial.repetition.value_or(0) != 0 || trial.state == TrialState::running ||
        trial.state == TrialState::cancelled) {
      continue;
    }
    const auto place = places.find(trial.layout);
    if (place == places.end() || study.done[place->second]) continue;
    study.add({place->second, outcome_of(trial)});
  }
  return study;
}

Drift drift_of(std::span<const Trial> trials) {
  Drift drift;
  std::map<std::string, double> first_s;
  for (const Trial& trial : trials) {
    if (trial.state != TrialState::ok) continue;
    const double seconds = trial.step_time_s();
    if (trial.repetition.value_or(0) == 0) {
      first_s.emplace(trial.layout, seconds);
      continue;
    }
    const auto first = first_s.find(trial.layout);
    if (first == first_s.end()) continue;
    ++drift.controls;
    drift.last = seconds / first->second - 1;
    if (std::abs(drift.last) > std::abs(drift.largest)) drift.largest = drift.last;
  }
  return drift;
}

Conclusion conclude(const StudySoFar& study, std::span<const Trial> trials,
                    const StackProfile& base, const Beliefs& beliefs) {
  Conclusion conclusion{.sureness = sureness(study, base, beliefs, 0.01),
                        .tried = static_cast<std::int64_t>(study.tried.size()),
                        .drift = drift_of(trials)};
  for (std::size_t i = 0; i < study.candidates.size(); ++i) {
    if (study.done[i]) continue;
    ++conclusion.untried;
    conclusion.untried_unfit += beliefs.layouts[i].fits_probability < 0.01;
  }
  if (const TriedCandidate* best = study.best()) {
    conclusion.best = best->candidate;
    conclusion.best_step_s = *best->outcome.step_time_s;
  }
  double error = 0;
  for (const Trial& trial : trials) {
    if (trial.state != TrialState::ok || trial.repetition.value_or(0) != 0) continue;
    if (conclusion.best && trial.layout == to_text(study.candidates[*conclusion.best].run.layout)) {
      conclusion.best_mfu = trial.mfu();
    }
    if (!trial.forecast || !(trial.step_time_s() > 0)) continue;
    error += std::abs(trial.forecast->step_time_s / trial.step_time_s() - 1);
    ++conclusion.forecasts;
  }
  if (conclusion.forecasts > 0) {
    conclusion.forecast_error = error / static_cast<double>(conclusion.forecasts);
  }
  return conclusion;
}

std::optional<Control> due_control(const StudySoFar& study, std::span<const Trial> trials,
                                   std::int64_t every) {
  if (every <= 0) return std::nullopt;
  const auto first = std::ranges::find_if(
      study.tried, [](const TriedCandidate& trial) { return trial.outcome.ran(); });
  if (first == study.tried.end()) return std::nullopt;
  const std::string layout = to_text(study.candidates[first->candidate].run.layout);
  std::int64_t repetitions = 0;
  for (const Trial& trial : trials) {
    if (trial.layout == layout) repetitions = std::max(repetitions, trial.repetition.value_or(0));
  }
  const auto tried = static_cast<std::int64_t>(study.tried.size());
  if (tried / every <= repetitions) return std::nullopt;
  return Control{first->candidate, repetitions + 1};
}

}  // namespace kumihimo
