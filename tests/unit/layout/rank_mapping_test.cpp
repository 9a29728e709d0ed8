#include "layout/rank_mapping.hpp"

#include <gtest/gtest.h>

#include "example.hpp"

namespace kumihimo {
namespace {

ParallelLayout mesh(int tp, int cp, int dp, int pp) {
  ParallelLayout layout;
  layout.tensor_parallel = tp;
  layout.context_parallel = cp;
  layout.data_parallel = dp;
  layout.pipeline_parallel = pp;
  return layout;
}

TEST(Stride, GrowsFromTensorToPipeline) {
  const ParallelLayout layout = mesh(2, 3, 5, 7);
  EXPECT_EQ(stride(layout, Axis::tensor), 1);
  EXPECT_EQ(stride(layout, Axis::context), 2);
  EXPECT_EQ(stride(layout, Axis::data), 2 * 3);
  EXPECT_EQ(stride(layout, Axis::pipeline), 2 * 3 * 5);
}

TEST(GlobalRank, CountsTensorFirst) {
  const ParallelLayout layout = mesh(2, 3, 5, 7);
  EXPECT_EQ(global_rank(layout, {.tensor = 1, .context = 2, .data = 4, .pipeline = 6}),
            1 + 2 * 2 + 4 * 6 + 6 * 30);
  EXPECT_EQ(coordinates(layout, 0), RankCoordinates{});
  EXPECT_EQ(coordinates(layout, 2), (RankCoordinates{.context = 1}));
  EXPECT_EQ(coordinates(layout, 31), (RankCoordinates{.tensor = 1, .pipeline = 1}));
}

TEST(GlobalRank, IsTheInverseOfCoordinates) {
  const ParallelLayout layout = mesh(4, 2, 3, 5);
  for (std::int64_t rank = 0; rank < layout.devices(); ++rank) {
    EXPECT_EQ(global_rank(layout, coordinates(layout, rank)), rank);
  }
}

TEST(GlobalRank, ChecksItsRange) {
  const ParallelLayout layout = mesh(2, 1, 2, 2);
  EXPECT_THROW(coordinates(layout, 8), InvariantError);
  EXPECT_THROW(coordinates(layout, -1), InvariantError);
  EXPECT_THROW(global_rank(layout, {.tensor = 2}), InvariantError);
}

TEST(RankGroups, GradientsAreSummedOverDataAndContext) {
  const ParallelLayout layout = mesh(2, 4, 8, 2);
  EXPECT_EQ(gradient_group(layout), (RankGroup{.stride = 2, .size = 4 * 8}));
}

TEST(RankGroups, ZeroShardsOverTheWholeGradientGroupUnlessToldOtherwise) {
  ParallelLayout layout = mesh(2, 1, 16, 1);
  EXPECT_EQ(zero_shard_group(layout), (RankGroup{.stride = 2, .size = 1}));
  EXPECT_EQ(zero_replica_group(layout), (RankGroup{.stride = 2, .size = 16}));

  layout.zero_stage = 3;
  EXPECT_EQ(zero_shard_group(layout), (RankGroup{.stride = 2, .size = 16}));
  EXPECT_EQ(zero_replica_group(layout).size, 1);

  layout.zero_group = 4;  // hybrid sharding: 4 groups of 4
  EXPECT_EQ(zero_shard_group(layout), (RankGroup{.stride = 2, .size = 4}));
  EXPECT_EQ(zero_replica_group(layout), (RankGroup{.stride = 2 * 4, .size = 16 / 4}));
}

TEST(Placement, FillsNodesWithTensorThenData) {
  const Cluster cluster = testing::a100_nodes();  // 8 a node
  const ParallelLayout layout = mesh(4, 1, 4, 2);
  EXPECT_EQ(placement(layout, Axis::tensor, cluster), (GroupPlacement{4, 4, 1}));
  // Data ranks are 4 apart: two of the four share a node.
  EXPECT_EQ(placement(layout, Axis::data, cluster), (GroupPlacement{4, 2, 2}));
  // Pipeline ranks are 16 apart: each on a node of its own.
  EXPECT_EQ(placement(layout, Axis::pipeline, cluster), (GroupPlacement{2, 1, 2}));
  EXPECT_EQ(placement(layout, gradient_group(layout), cluster), (GroupPlacement{4, 2, 2}));
}

}  // namespace
}  // namespace kumihimo
