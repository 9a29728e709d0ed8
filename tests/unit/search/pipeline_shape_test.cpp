#include "search/pipeline_shape.hpp"

#include <gmock/gmock.h>

#include "layout/layer_split.hpp"

namespace kumihimo {
namespace {

using ::testing::ElementsAre;

TEST(PipelineShape, KeepsOneRankOfEachKind) {
  // 60 layers over 8 ranks: 7 7 8 8 8 8 7 7.
  const PipelineShape shape = pipeline_shape(even_layer_split(60, 8), 8);
  EXPECT_THAT(shape.segments, ElementsAre(RankSegment{0, 0}, RankSegment{1, 1}, RankSegment{2, 5},
                                          RankSegment{6, 6}, RankSegment{7, 7}));
  EXPECT_THAT(shape.layers, ElementsAre(7, 7, 8, 7, 7));
}

TEST(PipelineShape, ChunksCountEachForItself) {
  // 10 layers over 4 ranks of 2 chunks: 1 1 1 2 | 2 1 1 1.
  const PipelineShape shape = pipeline_shape({1, 1, 1, 2, 2, 1, 1, 1}, 4);
  EXPECT_THAT(shape.segments, ElementsAre(RankSegment{0, 0}, RankSegment{1, 2}, RankSegment{3, 3}));
  EXPECT_THAT(shape.layers, ElementsAre(1, 1, 2, 2, 1, 1));
}

TEST(PipelineShape, FirstAndLastRankStandAlone) {
  EXPECT_THAT(pipeline_shape({5}, 1).segments, ElementsAre(RankSegment{0, 0}));
  EXPECT_THAT(pipeline_shape({5, 5}, 2).segments,
              ElementsAre(RankSegment{0, 0}, RankSegment{1, 1}));
  EXPECT_THAT(pipeline_shape({5, 5, 5, 5, 5}, 5).segments,
              ElementsAre(RankSegment{0, 0}, RankSegment{1, 3}, RankSegment{4, 4}));
}

TEST(PipelineShape, WholePipelineIsEveryRank) {
  const PipelineShape shape = whole_pipeline({5, 5, 5}, 3);
  EXPECT_THAT(shape.segments, ElementsAre(RankSegment{0, 0}, RankSegment{1, 1}, RankSegment{2, 2}));
  EXPECT_THAT(shape.layers, ElementsAre(5, 5, 5));
}

TEST(PipelineShape, BalancedSplitOnlyWhereItDiffers) {
  TrainingJob job;
  job.model.layers = 60;
  ParallelLayout layout;
  layout.pipeline_parallel = 8;
  EXPECT_THAT(layer_split_of_space(layout, job, LayerBalance::blocks),
              ElementsAre(7, 8, 8, 8, 8, 8, 7, 6));
  EXPECT_TRUE(layer_split_of_space(layout, job, LayerBalance::layers).empty());
  layout.pipeline_parallel = 1;
  EXPECT_TRUE(layer_split_of_space(layout, job, LayerBalance::blocks).empty());
  layout.pipeline_parallel = 64;  // more stages than layers: for validation to refuse
  EXPECT_TRUE(layer_split_of_space(layout, job, LayerBalance::blocks).empty());
}

}  // namespace
}  // namespace kumihimo
