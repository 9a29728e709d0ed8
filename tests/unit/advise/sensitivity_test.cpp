#include "advise/sensitivity.hpp"

#include <gtest/gtest.h>

#include "example.hpp"

namespace kumihimo {
namespace {

SearchRequest request() {
  const AdviceRequest advised = testing::llama_65b_on_128_a100(testing::founding_start);
  SearchRequest result{.job = advised.job,
                       .cluster = advised.cluster,
                       .profile = advised.profile,
                       .devices = advised.devices,
                       .objective = Objective::step_time,
                       .threads = 2};
  result.space = default_space(result.job, result.cluster, result.devices, result.profile);
  return result;
}

TEST(Sensitivity, RegionsTileTheAmountsAndEachLayoutWinsInItsOwn) {
  for (const SensitivityAxis axis : {SensitivityAxis::inter_node_bandwidth,
                                     SensitivityAxis::device_memory, SensitivityAxis::devices}) {
    SCOPED_TRACE(key_of(axis));
    const Sensitivity found = sensitivity(request(), axis);
    ASSERT_FALSE(found.regions.empty());
    ASSERT_EQ(found.thresholds.size() + 1, found.regions.size());
    EXPECT_EQ(found.regions.front().from, found.points.front().amount);
    EXPECT_EQ(found.regions.back().to, found.points.back().amount);
    bool holds_today = false;
    for (std::size_t i = 0; i < found.regions.size(); ++i) {
      const SensitivityRegion& region = found.regions[i];
      EXPECT_LE(region.from, region.to);
      holds_today = holds_today || (region.from <= found.today && found.today <= region.to);
      if (i == 0) continue;
      EXPECT_LT(found.regions[i - 1].to, region.from);
      EXPECT_GE(found.thresholds[i - 1].amount, found.regions[i - 1].to);
      EXPECT_LE(found.thresholds[i - 1].amount, region.from);
    }
    EXPECT_TRUE(holds_today);
  }
}

TEST(Sensitivity, MoreMemoryIsNeverSlowerAndLittleHoldsNothing) {
  const Sensitivity found = sensitivity(request(), SensitivityAxis::device_memory);
  // 65 G parameters at 2 + 2 + 12 bytes on 128 devices are 8.1 GiB a device, and 80 / 8 = 10 GiB.
  EXPECT_FALSE(found.points.front().best.has_value());
  double step_s = std::numeric_limits<double>::infinity();
  for (const SensitivityPoint& point : found.points) {
    if (!point.best) continue;
    EXPECT_LE(point.best->prediction.step_s, step_s);
    step_s = point.best->prediction.step_s;
  }
}

TEST(Sensitivity, SequencesAndBatchKeepTheTokens) {
  const auto longer = varied(request(), SensitivityAxis::seq_length, 8192);
  ASSERT_TRUE(longer.has_value());
  EXPECT_EQ(longer->job.global_batch_size, 2048 * 2048 / 8192);
  EXPECT_FALSE(varied(request(), SensitivityAxis::seq_length, 3000).has_value());
}

TEST(Sensitivity, MapsHoldTheWinnerOfEveryPair) {
  const SensitivityMap map = sensitivity_map(request(), SensitivityAxis::inter_node_bandwidth,
                                             SensitivityAxis::device_memory);
  ASSERT_EQ(map.winner.size(), map.x_amounts.size() * map.y_amounts.size());
  ASSERT_EQ(map.mfu.size(), map.winner.size());
  const std::size_t columns = map.x_amounts.size();
  for (std::size_t i = 0; i < map.winner.size(); ++i) {
    EXPECT_LT(map.winner[i], static_cast<int>(map.layouts.size()));
    if (i % columns > 0) {
      EXPECT_GE(map.mfu[i], map.mfu[i - 1]);  // faster links
    }
  }
}

}  // namespace
}  // namespace kumihimo
