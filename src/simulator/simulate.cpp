#include "simulator/simulate.hpp"

#include <algorithm>
#include <numeric>

namespace kumihimo {
namespace {

constexpr double not_yet = -1;

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
  Player(const Schedule& schedule, const StepCost& step, bool keep_spans)
      : schedule_(schedule),
        step_(step),
        keep_spans_(keep_spans),
        last_stage_(schedule.virtual_stages() - 1),
        forward_arrival_(schedule.virtual_stages() + 1, schedule.num_micro_batches),
        backward_arrival_(schedule.virtual_stages(), schedule.num_micro_batches),
        next_(schedule.pipeline_parallel, 0),
        free_at_(schedule.pipeline_parallel, 0.0) {
    for (int m = 0; m < schedule.num_micro_batches; ++m) forward_arrival_.at(0, m) = 0;
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
    free_at_[rank] = end;
    result.busy_s[rank] += seconds;
    if (keep_spans_) result.spans.push_back({rank, action, start, end});

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
    double reduced = 0, updated = 0;
    for (std::size_t rank = 0; rank < step_.ranks.size(); ++rank) {
      result.pipeline_s = std::max(result.pipeline_s, result.end_s[rank]);
      reduced = std::max(reduced, result.end_s[rank] + step_.ranks[rank].reduce_s);
    }
    for (const RankCost& rank : step_.ranks) {
      updated = std::max(updated, rank.optimizer_s + rank.gather_s);
    }
    result.step_s = reduced + updated + step_.fixed_s;
  }

  const Schedule& schedule_;
  const StepCost& step_;
  const bool keep_spans_;
  const int last_stage_;
  Arrivals forward_arrival_;
  Arrivals backward_arrival_;
  std::vector<std::size_t> next_;
  std::vector<double> free_at_;
};

}  // namespace

double SimulatedStep::bubble_fraction() const {
  if (step_s <= 0 || busy_s.empty()) return 0;
  double idle = 0;
  for (const double busy : busy_s) idle += pipeline_s - busy;
  return idle / static_cast<double>(busy_s.size()) / step_s;
}

SimulatedStep simulate(const Schedule& schedule, const StepCost& step, bool keep_spans) {
  KUMIHIMO_CHECK(schedule.virtual_stages() == static_cast<int>(step.chunks.size()));
  return Player(schedule, step, keep_spans).play();
}

}  // namespace kumihimo
