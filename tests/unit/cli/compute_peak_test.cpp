#include "cli/compute_peak.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <thread>

namespace kumihimo {
namespace {

TrainingOptions plain_loops(int threads_per_rank) {
  TrainingOptions options;
  options.backend = Backend::reference;
  options.threads_per_rank = threads_per_rank;
  return options;
}

TEST(ComputePeak, IsThatOfTheCoresThatTheRanksCanUse) {
  const double machine = std::thread::hardware_concurrency();
  for (const int ranks : {1, 2, 64}) {
    run_threads(ranks, [&](World& world) {
      Agreement agreement(world);
      const ComputePeak peak = compute_peak(world, agreement, plain_loops(2), 5e9);
      EXPECT_FALSE(peak.measured);
      EXPECT_EQ(peak.core_flop_per_s, 5e9);
      EXPECT_DOUBLE_EQ(peak.cores, std::min(2.0 * ranks, machine));
      EXPECT_DOUBLE_EQ(peak.flop_per_s(), 5e9 * std::min(2.0 * ranks, machine));
    });
  }
}

TEST(ComputePeak, OfEmulatedRanksIsAsIfEachHadItsOwnCores) {
  Cluster cluster;
  cluster.devices_per_node = 4;
  cluster.nodes = 8;
  cluster.intra_node = cluster.inter_node = {1e9, 1e-6};
  const auto ran = run_emulated(32, cluster, [](World& world) {
    Agreement agreement(world);
    EXPECT_DOUBLE_EQ(compute_peak(world, agreement, plain_loops(1), 5e9).cores, 32);
  });
  EXPECT_TRUE(ran);
}

TEST(ComputePeak, IsMeasuredOnceForAllRanks) {
  std::vector<double> core(2);
  run_threads(2, [&](World& world) {
    Agreement agreement(world);
    const ComputePeak peak = compute_peak(world, agreement, plain_loops(1), std::nullopt);
    EXPECT_TRUE(peak.measured);
    core[static_cast<std::size_t>(world.rank())] = peak.core_flop_per_s;
  });
  EXPECT_GT(core[0], 0);
  EXPECT_EQ(core[0], core[1]);
}

}  // namespace
}  // namespace kumihimo
