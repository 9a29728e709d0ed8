#pragma once

#include <cstdint>
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

/// The longest chain of a step: passes and messages of which each begins when the one before it
/// ends, from the start of the step to the end of its last reduction. How often it holds each cost
/// is the derivative of the step's time with respect to that cost.
struct CriticalPath {
  struct Uses {
    std::int64_t forward = 0;
    std::int64_t backward_input = 0;
    std::int64_t backward_weight = 0;
    std::int64_t message = 0;

    bool operator==(const Uses&) const = default;
  };
  std::vector<Uses> chunks;  ///< by virtual stage, as StepCost's
  int last_rank = 0;         ///< pipeline rank whose reduction ends last
};

/// What of a played step is kept beside its times.
enum class Keep : std::uint8_t { nothing, spans, path };

/// A training step played in virtual time.
struct SimulatedStep {
  double step_s = 0;
  double pipeline_s = 0;       ///< until the last backward of the slowest rank
  std::vector<double> busy_s;  ///< by pipeline rank, in actions
  std::vector<double> end_s;   ///< of the rank's last action
  std::vector<Span> spans;     ///< if kept
  CriticalPath path;           ///< if kept

  /// Share of the step that the average rank spends waiting for other pipeline ranks.
  double bubble_fraction() const;
};

/// Plays `schedule` with the costs of `step`. An action starts when its rank is free and what it
/// needs has arrived; messages travel beside compute. After its last action a rank reduces its
/// gradients; all then agree on the gradient norm, update, and gather weights.
/// Fails a check if the schedule deadlocks: make_schedule's never do.
SimulatedStep simulate(const Schedule& schedule, const StepCost& step, Keep keep = Keep::nothing);

/// The time that a step of other costs takes along `path`: simulate's step_s while that path stays
/// the longest, as it does where costs move little, and never more.
double step_time_along(const CriticalPath& path, const StepCost& step);

}  // namespace kumihimo
