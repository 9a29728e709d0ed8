#include "simulator/simulate.hpp"

#include <algorithm>
#include <numeric>

namespace kumihimo {
namespace {

constexpr double not_yet = -1;

/// Once all have reduced: the slowest rank's update, and its gathering of weights.
double update_s(const StepCost& step) {
  double slowest = 0;
  for (const RankCost& rank : step.ranks) {
    slowest = std::max(slowest, rank.optimizer_s + rank.gather_s);
  }
  return slowest;
}

/// When the input of every (virtual stage, micro-batch) is there.
class Arrivals {
 public:
  Arrivals(int stages, int micro_batches)
      : micro_batches_(micro_batches),
        times_(static_cast<std::size_t>(stages) * micro_batches, not_yet) {}

  double& at(int stage, int micro_batch) {
    return times_[static_cast<std::size_t>(stage) * micro_batches_ + micro_batch];
  }

 private:
  int micro_batches_;
  std::vector<double> times_;
};

class Player {
 public:
  Player(const Schedule& schedule, const StepCost& step, Keep keep)
      : schedule_(schedule),
        step_(step),
        keep_(keep),
        last_stage_(schedule.virtual_stages() - 1),
        forward_arrival_(schedule.virtual_stages() + 1, schedule.num_micro_batches),
        backward_arrival_(schedule.virtual_stages(), schedule.num_micro_batches),
        next_(schedule.pipeline_parallel, 0),
        free_at_(schedule.pipeline_parallel, 0.0) {
    for (int m = 0; m < schedule.num_micro_batches; ++m) forward_arrival_.at(0, m) = 0;
    if (keep != Keep::path) return;
    for (const auto& actions : schedule.actions) waited_.emplace_back(actions.size());
  }

  SimulatedStep play() {
    SimulatedStep result;
    const int ranks = schedule_.pipeline_parallel;
    result.busy_s.assign(ranks, 0);
    // Ranks run until they wait for a message; a rank that gets one is looked at again.
    std::vector<int> runnable(ranks);
    std::iota(runnable.rbegin(), runnable.rend(), 0);
    std::size_t played = 0, total = 0;
    for (const auto& actions : schedule_.actions) total += actions.size();
    while (!runnable.empty()) {
      const int rank = runnable.back();
      runnable.pop_back();
      while (next_[rank] < schedule_.actions[rank].size()) {
        const Action& action = schedule_.actions[rank][next_[rank]];
        const double ready = ready_time(rank, action);
        if (ready < 0) break;
        const int woken = perform(rank, action, ready, result);
        if (woken >= 0 && woken != rank) runnable.push_back(woken);
        ++next_[rank];
        ++played;
      }
    }
    KUMIHIMO_CHECK(played == total);
    result.end_s = free_at_;
    finish_step(result);
    if (keep_ == Keep::path) result.path = critical_path(result);
    return result;
  }

 private:
  /// When the action may start, or not_yet.
  double ready_time(int rank, const Action& action) {
    const int stage = schedule_.virtual_stage(rank, action.chunk);
    switch (action.kind) {
      case ActionKind::forward: return forward_arrival_.at(stage, action.micro_batch);
      case ActionKind::backward:
      case ActionKind::backward_input:
        // What leaves the last stage is the loss, with which its backward begins.
        return stage == last_stage_ ? forward_arrival_.at(stage + 1, action.micro_batch)
                                    : backward_arrival_.at(stage, action.micro_batch);
      case ActionKind::backward_weight: return 0;  // its own rank's backward_input came before
    }
    return 0;
  }

  /// Returns the rank that now has something to read, or -1.
  int perform(int rank, const Action& action, double ready, SimulatedStep& result) {
    const int stage = schedule_.virtual_stage(rank, action.chunk);
    const ChunkCost& cost = step_.chunks[stage];
    double seconds = 0;
    switch (action.kind) {
      case ActionKind::forward: seconds = cost.forward_s; break;
      case ActionKind::backward: seconds = cost.backward_input_s + cost.backward_weight_s; break;
      case ActionKind::backward_input: seconds = cost.backward_input_s; break;
      case ActionKind::backward_weight: seconds = cost.backward_weight_s; break;
    }
    const double start = std::max(free_at_[rank], ready);
    const double end = start + seconds;
    if (keep_ == Keep::path) waited_[rank][next_[rank]] = ready > free_at_[rank];
    free_at_[rank] = end;
    result.busy_s[rank] += seconds;
    if (keep_ == Keep::spans) result.spans.push_back({rank, action, start, end});

    if (action.kind == ActionKind::forward) {
      const bool last = stage == last_stage_;
      forward_arrival_.at(stage + 1, action.micro_batch) = end + (last ? 0 : cost.message_s);
      return last ? -1 : (stage + 1) % schedule_.pipeline_parallel;
    }
    if (action.kind == ActionKind::backward_weight || stage == 0) return -1;
    backward_arrival_.at(stage - 1, action.micro_batch) = end + step_.chunks[stage - 1].message_s;
    return (stage - 1) % schedule_.pipeline_parallel;
  }

  void finish_step(SimulatedStep& result) const {
    double reduced = 0;
    for (std::size_t rank = 0; rank < step_.ranks.size(); ++rank) {
      result.pipeline_s = std::max(result.pipeline_s, result.end_s[rank]);
      reduced = std::max(reduced, reduced_at(result, rank));
    }
    result.step_s = reduced + update_s(step_) + step_.fixed_s;
  }

  double reduced_at(const SimulatedStep& result, std::size_t rank) const {
    return result.end_s[rank] + step_.ranks[rank].reduce_s;
  }

  /// Goes back from the last action to what each one waited for. It comes back to a rank only at
  /// what that does earlier: `places` only fall.
  CriticalPath critical_path(const SimulatedStep& result) const {
    CriticalPath path;
    path.chunks.resize(step_.chunks.size());
    for (int rank = 1; rank < schedule_.pipeline_parallel; ++rank) {
      if (reduced_at(result, rank) > reduced_at(result, path.last_rank)) path.last_rank = rank;
    }
    std::vector<std::size_t> places;
    for (const auto& actions : schedule_.actions) places.push_back(actions.size());
    int rank = path.last_rank;
    while (places[rank] > 0) {
      const Action& action = schedule_.actions[rank][--places[rank]];
      const int stage = schedule_.virtual_stage(rank, action.chunk);
      count(action.kind, path.chunks[stage]);
      if (!waited_[rank][places[rank]]) continue;  // for nothing but the rank's action before
      const int sender = action.kind == ActionKind::forward ? stage - 1 : stage + 1;
      ++path.chunks[std::min(stage, sender)].message;
      rank = sender % schedule_.pipeline_parallel;
      const Action sent{action.kind, action.micro_batch, sender / schedule_.pipeline_parallel};
      while (schedule_.actions[rank][places[rank] - 1] != sent) --places[rank];
    }
    return path;
  }

  static void count(ActionKind kind, CriticalPath::Uses& uses) {
    switch (kind) {
      case ActionKind::forward: ++uses.forward; break;
      case ActionKind::backward:
        ++uses.backward_input;
        ++uses.backward_weight;
        break;
      case ActionKind::backward_input: ++uses.backward_input; break;
      case ActionKind::backward_weight: ++uses.backward_weight; break;
    }
  }

  const Schedule& schedule_;
  const StepCost& step_;
  const Keep keep_;
  const int last_stage_;
  Arrivals forward_arrival_;
  Arrivals backward_arrival_;
  std::vector<std::size_t> next_;
  std::vector<double> free_at_;
  std::vector<std::vector<char>> waited_;  ///< for a message, by rank and action; of Keep::path
};

}  // namespace

double SimulatedStep::bubble_fraction() const {
  if (step_s <= 0 || busy_s.empty()) return 0;
  double idle = 0;
  for (const double busy : busy_s) idle += pipeline_s - busy;
  return idle / static_cast<double>(busy_s.size()) / step_s;
}

SimulatedStep simulate(const Schedule& schedule, const StepCost& step, Keep keep) {
  KUMIHIMO_CHECK(schedule.virtual_stages() == static_cast<int>(step.chunks.size()));
  return Player(schedule, step, keep).play();
}

double step_time_along(const CriticalPath& path, const StepCost& step) {
  KUMIHIMO_CHECK(path.chunks.size() == step.chunks.size());
  double seconds = step.ranks[path.last_rank].reduce_s + update_s(step) + step.fixed_s;
  for (std::size_t stage = 0; stage < path.chunks.size(); ++stage) {
    const CriticalPath::Uses& uses = path.chunks[stage];
    const ChunkCost& cost = step.chunks[stage];
    seconds += static_cast<double>(uses.forward) * cost.forward_s +
               static_cast<double>(uses.backward_input) * cost.backward_input_s +
               static_cast<double>(uses.backward_weight) * cost.backward_weight_s +
               static_cast<double>(uses.message) * cost.message_s;
  }
  return seconds;
}

}  // namespace kumihimo
