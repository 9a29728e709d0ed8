#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "schedule/schedule.hpp"

namespace kumihimo::testing {

/// Durations of one pass through one virtual stage.
struct PassTimes {
  int forward = 1;
  int backward_input = 1;
  int backward_weight = 1;
};

/// Plays a schedule with blocking receives and free communication: an independent, naive oracle.
/// Returns the time when the last rank ends, or nothing when every unfinished rank waits for ever.
inline std::optional<int> makespan(const Schedule& schedule, PassTimes times = {}) {
  const auto ranks = static_cast<std::size_t>(schedule.pipeline_parallel);
  const int stages = schedule.virtual_stages();
  const std::size_t passes =
      static_cast<std::size_t>(schedule.num_micro_batches) * static_cast<std::size_t>(stages);
  constexpr int not_yet = -1;
  std::vector<int> forward_end(passes, not_yet), backward_end(passes, not_yet);
  std::vector<int> clock(ranks, 0);
  std::vector<std::size_t> next(ranks, 0);

  for (bool progress = true; progress;) {
    progress = false;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      const auto& actions = schedule.actions[rank];
      for (; next[rank] < actions.size(); ++next[rank], progress = true) {
        const Action& action = actions[next[rank]];
        const int stage = schedule.virtual_stage(static_cast<int>(rank), action.chunk);
        const auto pass = static_cast<std::size_t>(action.micro_batch) * stages + stage;
        if (action.kind == ActionKind::forward) {
          const int ready = stage == 0 ? 0 : forward_end[pass - 1];
          if (ready == not_yet) break;
          clock[rank] = std::max(clock[rank], ready) + times.forward;
          forward_end[pass] = clock[rank];
        } else if (action.kind == ActionKind::backward_weight) {
          if (backward_end[pass] == not_yet) break;
          clock[rank] += times.backward_weight;
        } else {
          const int ready = stage == stages - 1 ? forward_end[pass] : backward_end[pass + 1];
          if (ready == not_yet || forward_end[pass] == not_yet) break;
          const int duration = action.kind == ActionKind::backward
                                   ? times.backward_input + times.backward_weight
                                   : times.backward_input;
          clock[rank] = std::max(clock[rank], ready) + duration;
          backward_end[pass] = clock[rank];
        }
      }
    }
  }
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    if (next[rank] != schedule.actions[rank].size()) return std::nullopt;
  }
  return *std::max_element(clock.begin(), clock.end());
}

}  // namespace kumihimo::testing
