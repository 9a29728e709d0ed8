#include "engine/stage_plan.hpp"

#include <algorithm>

namespace kumihimo {
namespace {

std::vector<Chunk> chunks_of(const Schedule& schedule, int pipeline_rank,
                             const std::vector<ParameterUnit>& units) {
  std::vector<Chunk> chunks(static_cast<std::size_t>(schedule.virtual_stages_per_rank));
  for (int c = 0; c < std::ssize(chunks); ++c) {
    Chunk& chunk = chunks[static_cast<std::size_t>(c)];
    chunk.virtual_stage = schedule.virtual_stage(pipeline_rank, c);
    chunk.first = chunk.virtual_stage == 0;
    chunk.last = chunk.virtual_stage == schedule.virtual_stages() - 1;
    for (int u = 0; u < std::ssize(units); ++u) {
      const ParameterUnit& unit = units[static_cast<std::size_t>(u)];
      if (unit.kind == UnitKind::table && chunk.last && chunk.head < 0) chunk.head = u;
      if (unit.virtual_stage != chunk.virtual_stage) continue;
      switch (unit.kind) {
        case UnitKind::table: chunk.table = u; break;
        case UnitKind::positions: chunk.positions = u; break;
        case UnitKind::layer: chunk.layers.push_back(u); break;
        case UnitKind::final_norm: chunk.final_norm = u; break;
        case UnitKind::head: chunk.head = u; break;
      }
    }
  }
  return chunks;
}

/// Walks through a rank's actions, noting the order of uses and the peaks.
class Walk {
 public:
  Walk(StagePlan& plan, std::size_t units) : plan_(plan) { plan.gradient_uses.resize(units); }

  void play(const Action& action) {
    const Chunk& chunk = plan_.chunks[static_cast<std::size_t>(action.chunk)];
    const int layers = static_cast<int>(chunk.layers.size());
    switch (action.kind) {
      case ActionKind::forward: forward(chunk, layers); break;
      case ActionKind::backward:
        backward(chunk);
        finish_layers(chunk);
        layers_ -= layers;
        break;
      case ActionKind::backward_input:
        backward(chunk);
        raise(pending_, layers, plan_.layers_pending);
        plan_.split_backward = true;
        break;
      case ActionKind::backward_weight:
        finish_layers(chunk);
        layers_ -= layers;
        pending_ -= layers;
        break;
    }
  }

 private:
  static void raise(int& now, int by, int& peak) {
    now += by;
    peak = std::max(peak, now);
  }
  void use(int unit) {
    if (unit >= 0) plan_.use_order.push_back(unit);
  }
  void finish(int unit) {
    if (unit >= 0) ++plan_.gradient_uses[static_cast<std::size_t>(unit)];
  }
  void finish_layers(const Chunk& chunk) {
    for (const int unit : chunk.layers) finish(unit);
  }

  void forward(const Chunk& chunk, int layers) {
    use(chunk.table);
    use(chunk.positions);
    for (const int unit : chunk.layers) use(unit);
    raise(layers_, layers, plan_.layers_in_flight);
    if (chunk.first) raise(inputs_, 1, plan_.inputs_in_flight);
    if (chunk.last) {
      use(chunk.final_norm);
      use(chunk.head);
      finish(chunk.final_norm);
      finish(chunk.head);
      raise(losses_, 1, plan_.losses_in_flight);
    }
  }

  void backward(const Chunk& chunk) {
    for (auto unit = chunk.layers.rbegin(); unit != chunk.layers.rend(); ++unit) use(*unit);
    finish(chunk.table);
    finish(chunk.positions);
    if (chunk.first) --inputs_;
    if (chunk.last) --losses_;
  }

  StagePlan& plan_;
  int layers_ = 0, pending_ = 0, inputs_ = 0, losses_ = 0;
};

}  // namespace

StagePlan plan_stages(const Schedule& schedule, int pipeline_rank,
                      const std::vector<ParameterUnit>& units) {
  StagePlan plan;
  plan.chunks = chunks_of(schedule, pipeline_rank, units);
  plan.actions = schedule.actions[static_cast<std::size_t>(pipeline_rank)];
  Walk walk(plan, units.size());
  for (const Action& action : plan.actions) walk.play(action);

  // What has been sent and not taken is still in flight: at the sender, whose backward pass needs
  // the answer; for gradients at the receiver, whose forward pass made the activations. With so
  // many buffers no rank waits for one that another holds up.
  const std::vector<int> in_flight = peak_in_flight(schedule);
  const int ranks = schedule.pipeline_parallel;
  const int previous = (pipeline_rank + ranks - 1) % ranks;
  plan.forward_messages = in_flight[static_cast<std::size_t>(pipeline_rank)] + 1;
  plan.backward_messages = in_flight[static_cast<std::size_t>(previous)] + 1;
  return plan;
}

}  // namespace kumihimo
