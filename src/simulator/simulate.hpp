#pragma once

#include <vector>

#include "cost/step_cost.hpp"
#include "schedule/schedule.hpp"

namespace kumihimo {

/// One action in time, for timelines and traces.
struct Span {
  int pipeline_rank;
  Action action;
  double start_s;
  double end_s;
};

/// A training step played in virtual time.
struct SimulatedStep {
  double step_s = 0;
  double pipeline_s = 0;       ///< until the last backward of the slowest rank
  std::vector<double> busy_s;  ///< by pipeline rank, in actions
  std::vector<double> end_s;   ///< of the rank's last action
  std::vector<Span> spans;     ///< if asked for

  /// Share of the step that the average rank spends waiting for other pipeline ranks.
  double bubble_fraction() const;
};

/// Plays `schedule` with the costs of `step`. An action starts when its rank is free and what it
/// needs has arrived; messages travel beside compute. After its last action a rank reduces its
/// gradients; all then agree on the gradient norm, update, and gather weights.
/// Fails a check if the schedule deadlocks: make_schedule's never do.
SimulatedStep simulate(const Schedule& schedule, const StepCost& step, bool keep_spans = false);

}  // namespace kumihimo
