// Question: how many actions of a schedule does the simulator play in a second, and what does
// making the schedule add?

#include <benchmark/benchmark.h>

#include "layout/names.hpp"
#include "simulator/simulate.hpp"

namespace kumihimo {
namespace {

constexpr int ranks = 16;

int chunks_of(ScheduleKind kind) { return kind == ScheduleKind::interleaved ? 4 : 1; }

StepCost step_of(int virtual_stages) {
  StepCost step;
  step.ranks.resize(ranks);
  ChunkCost chunk;
  chunk.forward_s = 1e-3;
  chunk.backward_input_s = 1.1e-3;
  chunk.backward_weight_s = 0.9e-3;
  chunk.message_s = 5e-5;
  step.chunks.assign(static_cast<std::size_t>(virtual_stages), chunk);
  step.chunks.back().message_s = 0;
  return step;
}

void simulating(benchmark::State& state) {
  const auto kind = static_cast<ScheduleKind>(state.range(0));
  const int micro_batches = static_cast<int>(state.range(1));
  const auto schedule = make_schedule(kind, ranks, chunks_of(kind), micro_batches);
  const StepCost step = step_of(schedule->virtual_stages());
  std::size_t actions = 0;
  for (const auto& own : schedule->actions) actions += own.size();
  for (auto _ : state) benchmark::DoNotOptimize(simulate(*schedule, step));
  state.SetLabel(std::string(to_string(kind)));
  state.counters["actions/s"] = benchmark::Counter(static_cast<double>(actions),
                                                   benchmark::Counter::kIsIterationInvariantRate);
}

void making_the_schedule(benchmark::State& state) {
  const auto kind = static_cast<ScheduleKind>(state.range(0));
  const int micro_batches = static_cast<int>(state.range(1));
  std::size_t actions = 0;
  for (auto _ : state) {
    const auto schedule = make_schedule(kind, ranks, chunks_of(kind), micro_batches);
    actions = schedule->actions.size() * schedule->actions.front().size();
    benchmark::DoNotOptimize(schedule);
  }
  state.SetLabel(std::string(to_string(kind)));
  state.counters["actions/s"] = benchmark::Counter(static_cast<double>(actions),
                                                   benchmark::Counter::kIsIterationInvariantRate);
}

void every_kind(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"kind", "micro-batches"})->Unit(benchmark::kMicrosecond);
  for (const auto& kind : NameTable<ScheduleKind>::rows) {
    for (const int micro_batches : {64, 4096}) {
      bench->Args({static_cast<int>(kind.value), micro_batches});
    }
  }
}
BENCHMARK(simulating)->Apply(every_kind);
BENCHMARK(making_the_schedule)->Apply(every_kind);

}  // namespace
}  // namespace kumihimo
