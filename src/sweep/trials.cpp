#include "sweep/trials.hpp"

#include <utility>

namespace kumihimo {

void StudySoFar::add(TriedCandidate trial) {
  KUMIHIMO_CHECK(trial.candidate < candidates.size() && !done[trial.candidate]);
  done[trial.candidate] = true;
  tried.push_back(std::move(trial));
}

const TriedCandidate* StudySoFar::best() const {
  const TriedCandidate* best = nullptr;
  for (const TriedCandidate& trial : tried) {
    if (!trial.outcome.ran()) continue;
    if (best == nullptr || *trial.outcome.step_time_s < *best->outcome.step_time_s) best = &trial;
  }
  return best;
}

double StudySoFar::device_hours() const {
  double hours = 0;
  for (const TriedCandidate& trial : tried) hours += trial.outcome.device_hours;
  return hours;
}

}  // namespace kumihimo
