#include "layout/canonical.hpp"

#include <gtest/gtest.h>

namespace kumihimo {
namespace {

TEST(Canonical, KeepsALayoutWhoseEveryKnobActs) {
  ParallelLayout layout;
  layout.tensor_parallel = 2;
  layout.pipeline_parallel = 2;
  layout.data_parallel = 4;
  layout.schedule = ScheduleKind::interleaved;
  layout.virtual_stages_per_rank = 2;
  layout.sequence_parallel = true;
  layout.zero_stage = 3;
  layout.zero_group = 2;
  layout.overlap_data_parallel = false;
  layout.overlap_tensor_parallel = true;
  layout.layer_split = {11, 10, 10, 9};
  EXPECT_EQ(canonical(layout), layout);
}

TEST(Canonical, DropsEveryKnobOnOneDevice) {
  ParallelLayout layout;
  layout.schedule = ScheduleKind::zb_h1;
  layout.virtual_stages_per_rank = 2;
  layout.sequence_parallel = true;
  layout.zero_stage = 3;
  layout.zero_group = 1;
  layout.overlap_data_parallel = false;
  layout.overlap_tensor_parallel = true;
  layout.layer_split = {20, 20};
  EXPECT_EQ(canonical(layout), ParallelLayout{});
}

TEST(Canonical, ZeroOverContextRanksActs) {
  ParallelLayout layout;
  layout.context_parallel = 2;
  layout.zero_stage = 1;
  EXPECT_EQ(canonical(layout).zero_stage, 1);
}

TEST(Canonical, AZeroGroupOfAllIsTheDefaultAndOneOfOneIsNoZero) {
  ParallelLayout layout;
  layout.data_parallel = 8;
  layout.zero_stage = 2;
  layout.zero_group = 8;
  EXPECT_EQ(canonical(layout).zero_group, 0);
  EXPECT_EQ(canonical(layout).zero_stage, 2);
  layout.zero_group = 1;
  EXPECT_EQ(canonical(layout).zero_group, 0);
  EXPECT_EQ(canonical(layout).zero_stage, 0);
}

TEST(Canonical, InterleavingOneChunkIs1F1B) {
  ParallelLayout layout;
  layout.pipeline_parallel = 4;
  layout.schedule = ScheduleKind::interleaved;
  EXPECT_EQ(canonical(layout).schedule, ScheduleKind::one_forward_one_backward);
  layout.schedule = ScheduleKind::gpipe;
  layout.virtual_stages_per_rank = 2;
  EXPECT_EQ(canonical(layout).virtual_stages_per_rank, 1);
  EXPECT_EQ(canonical(layout).schedule, ScheduleKind::gpipe);
}

TEST(Canonical, AnEvenSplitNeedsNoNaming) {
  ParallelLayout layout;
  layout.pipeline_parallel = 4;
  layout.layer_split = {2, 3, 3, 2};
  EXPECT_TRUE(canonical(layout).layer_split.empty());
  layout.layer_split = {3, 2, 2, 3};
  EXPECT_EQ(canonical(layout), layout);
}

TEST(Canonical, LeavesNonsenseForValidationToReport) {
  ParallelLayout layout;
  layout.pipeline_parallel = 2;
  layout.data_parallel = -3;
  layout.zero_stage = -1;
  layout.layer_split = {-1, 2147483647};
  EXPECT_EQ(canonical(layout), layout);
  layout.layer_split = {2147483647, 2147483647};
  EXPECT_EQ(canonical(layout), layout);
}

TEST(Canonical, IsIdempotent) {
  ParallelLayout layout;
  layout.pipeline_parallel = 2;
  layout.data_parallel = 2;
  layout.zero_stage = 1;
  layout.zero_group = 1;
  layout.virtual_stages_per_rank = 3;
  EXPECT_EQ(canonical(canonical(layout)), canonical(layout));
}

}  // namespace
}  // namespace kumihimo
