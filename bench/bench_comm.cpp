// Question: how near do collectives and messages between ranks that are threads come to the speed
// at which as many threads copy memory?
//
// Every figure is bytes of the matrix x ranks / time, so that all rows compare with `copying`,
// where each rank copies its own matrix, in the same run. A collective also reads or writes what
// the others have: all_reduce reads and writes every byte of every rank once, as a copy does.

#include <algorithm>
#include <benchmark/benchmark.h>
#include <cstring>
#include <functional>
#include <numeric>
#include <vector>

#include "comm/world.hpp"

namespace kumihimo {
namespace {

/// What one rank has to work with: `bytes` of fp32, twice.
struct Rank {
  Rank(World& world_, std::int64_t bytes)
      : world(world_),
        from(static_cast<std::size_t>(bytes / 4), 1.0f),
        to(from.size()),
        ranks(static_cast<std::size_t>(world_.size())) {
    std::iota(ranks.begin(), ranks.end(), 0);
    group = world.make_group(ranks);
  }
  Matrix matrix(std::vector<float>& values) {
    const std::int64_t rows = world.size();
    return matrix_at(values.data(), rows, std::ssize(values) / rows, DType::fp32);
  }
  Matrix source() { return matrix(from); }
  Matrix target() { return matrix(to); }
  Matrix own_row(const Matrix& whole) { return rows_of(whole, world.rank(), 1); }

  World& world;
  std::vector<float> from, to;
  std::vector<int> ranks;
  std::unique_ptr<ProcessGroup> group;
};

/// Times `operation` from the moment when the first rank begins to the moment when all are done,
/// without the start of the threads. (Rank 0 may come back from a barrier when others, on as many
/// cores as there are, are done already.)
void time_of(benchmark::State& state, const std::function<void(Rank& rank)>& operation) {
  const int ranks = static_cast<int>(state.range(0));
  const std::int64_t bytes = state.range(1);
  const int repeats = static_cast<int>(std::clamp<std::int64_t>((64 << 20) / bytes, 8, 2000));
  while (state.KeepRunningBatch(repeats)) {
    run_threads(ranks, [&](World& world) {
      Rank rank(world, bytes);
      operation(rank);
      rank.group->barrier();
      double since_first_s = -world.clock().now_s();
      for (int i = 0; i < repeats; ++i) operation(rank);
      rank.group->all_reduce(matrix_at(&since_first_s, 1, 1, DType::fp64), Reduction::max);
      since_first_s += world.clock().now_s();
      if (world.rank() == 0) state.SetIterationTime(since_first_s);
    });
  }
  state.counters["bytes/s"] = benchmark::Counter(static_cast<double>(bytes) * ranks,
                                                 benchmark::Counter::kIsIterationInvariantRate,
                                                 benchmark::Counter::kIs1000);
}

void copying(benchmark::State& state) {
  time_of(state, [](Rank& rank) {
    std::memcpy(rank.to.data(), rank.from.data(), rank.from.size() * sizeof(float));
    benchmark::ClobberMemory();
  });
}

void all_reducing(benchmark::State& state) {
  time_of(state, [](Rank& rank) { rank.group->all_reduce(rank.source()); });
}

void all_gathering(benchmark::State& state) {
  time_of(state,
          [](Rank& rank) { rank.group->all_gather(rank.own_row(rank.source()), rank.target()); });
}

void reduce_scattering(benchmark::State& state) {
  time_of(state, [](Rank& rank) {
    rank.group->reduce_scatter(rank.source(), rank.own_row(rank.target()));
  });
}

/// Every rank to the next.
void messaging(benchmark::State& state) {
  time_of(state, [](Rank& rank) {
    const int size = rank.world.size();
    const auto sent = rank.group->start_send(rank.source(), (rank.world.rank() + 1) % size);
    const auto received =
        rank.group->start_receive(rank.target(), (rank.world.rank() + size - 1) % size);
    rank.group->wait(*received);
    rank.group->wait(*sent);
  });
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"ranks", "bytes"})->UseManualTime()->Unit(benchmark::kMicrosecond);
  bench->ArgsProduct({{2, 4, 8}, {4 << 10, 64 << 10, 1 << 20, 16 << 20}});
}
BENCHMARK(copying)->Apply(sizes);
BENCHMARK(all_reducing)->Apply(sizes);
BENCHMARK(all_gathering)->Apply(sizes);
BENCHMARK(reduce_scattering)->Apply(sizes);
BENCHMARK(messaging)->Apply(sizes);

}  // namespace
}  // namespace kumihimo
