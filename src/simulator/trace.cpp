#include "simulator/trace.hpp"

#include <algorithm>
#include <fmt/format.h>

#include "simulator/trace_events.hpp"

namespace kumihimo {
namespace {

std::string_view name_of(ActionKind kind) {
  switch (kind) {
    case ActionKind::forward: return "forward";
    case ActionKind::backward: return "backward";
    case ActionKind::backward_input: return "backward (input)";
    case ActionKind::backward_weight: return "backward (weight)";
  }
  return "?";
}

void add_end_of_step(TraceEvents& events, const StepCost& cost, const SimulatedStep& played) {
  const int ranks = static_cast<int>(cost.ranks.size());
  double reduced = 0, updated = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const double end = played.end_s[rank] + cost.ranks[rank].reduce_s;
    events.slice("reduce gradients", rank, played.end_s[rank], end);
    reduced = std::max(reduced, end);
  }
  for (int rank = 0; rank < ranks; ++rank) {
    const double optimized = reduced + cost.ranks[rank].optimizer_s;
    const double gathered = optimized + cost.ranks[rank].gather_s;
    events.slice("optimizer", rank, reduced, optimized);
    events.slice("gather weights", rank, optimized, gathered);
    updated = std::max(updated, gathered);
  }
  for (int rank = 0; rank < ranks; ++rank) {
    events.slice("fixed per step", rank, updated, updated + cost.fixed_s);
  }
}

}  // namespace

std::string chrome_trace(const Schedule& schedule, const StepCost& cost,
                         const SimulatedStep& played, std::string_view title) {
  TraceEvents events;
  events.name("process_name", 0, title);
  for (int rank = 0; rank < schedule.pipeline_parallel; ++rank) {
    events.name("thread_name", rank, fmt::format("pipeline rank {}", rank));
  }
  for (const Span& span : played.spans) {
    const Action& action = span.action;
    events.slice(name_of(action.kind), span.pipeline_rank, span.start_s, span.end_s,
                 fmt::format(R"("micro_batch":{},"virtual_stage":{})", action.micro_batch,
                             schedule.virtual_stage(span.pipeline_rank, action.chunk)));
  }
  add_end_of_step(events, cost, played);
  return std::move(events).finish();
}

}  // namespace kumihimo
