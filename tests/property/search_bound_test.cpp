// What lets a search leave layouts out: the bound is below the step time, the memory is the one
// predicted, both for the shapes and machines that a user may come with.

#include <gtest/gtest.h>

#include "layout/layer_split.hpp"
#include "layout/layout_text.hpp"
#include "search/layout_estimate.hpp"
#include "search_cases.hpp"

namespace kumihimo {
namespace {

using testing::SearchCases;

LayoutEstimate estimated(const SearchRequest& request, const ParallelLayout& layout) {
  const PipelineShape shape =
      pipeline_shape(stage_layers(layout, request.job), layout.pipeline_parallel);
  return estimate(piece_costs(request.job, layout, request.cluster, request.profile), shape,
                  request.job, layout, request.cluster, request.profile);
}

TEST(SearchBound, IsNeverAboveTheStepTimeAndSeldomFarBelow) {
  SearchCases cases(1);
  double share = 0;
  int pipelines = 0;
  for (int i = 0; i < 4000; ++i) {
    const SearchRequest request = cases.request();
    ParallelLayout layout = cases.layout(request);
    layout.layer_split =
        layer_split_of_space(layout, request.job, static_cast<LayerBalance>(cases.from_to(0, 2)));
    SCOPED_TRACE(to_text(layout));
    const double bound = estimated(request, layout).least_step_s;
    const double step = predict(request.job, layout, request.cluster, request.profile).step_s;
    ASSERT_LE(bound, step);
    if (layout.pipeline_parallel == 1) {
      ASSERT_NEAR(bound, step, 1e-6 * step);  // nothing to wait for
    } else {
      share += bound / step;
      ++pipelines;
    }
  }
  ASSERT_GT(pipelines, 500);
  EXPECT_GT(share / pipelines, 0.95);
}

TEST(SearchBound, MemoryIsTheFullestRanks) {
  SearchCases cases(2);
  int offloaded = 0;
  for (int i = 0; i < 4000; ++i) {
    const SearchRequest request = cases.request();
    ParallelLayout layout = cases.layout(request);
    layout.layer_split =
        layer_split_of_space(layout, request.job, static_cast<LayerBalance>(cases.from_to(0, 2)));
    SCOPED_TRACE(to_text(layout));
    const Prediction whole = predict(request.job, layout, request.cluster, request.profile);
    const LayoutEstimate estimate = estimated(request, layout);
    ASSERT_DOUBLE_EQ(estimate.fullest.total(), whole.peak_memory_bytes);
    ASSERT_DOUBLE_EQ(estimate.host_bytes_of_node, whole.host_bytes_of_node);
    offloaded += whole.host_bytes_of_node > 0;
  }
  EXPECT_GT(offloaded, 500);
}

TEST(SearchBound, MemoryLimitIsThePredictedProbability) {
  SearchCases cases(3);
  int fitting = 0, total = 0;
  for (int i = 0; i < 2000; ++i) {
    SearchRequest request = cases.request();
    request.min_fits_probability = cases.between(0.05, 0.95);
    const ParallelLayout layout = cases.layout(request);
    const Prediction whole = predict(request.job, layout, request.cluster, request.profile);
    ASSERT_EQ(fits(whole, request), whole.fits_probability >= request.min_fits_probability)
        << whole.fits_probability << " of " << request.min_fits_probability;
    fitting += fits(whole, request);
    ++total;
  }
  EXPECT_GT(fitting, total / 10);
  EXPECT_LT(fitting, total * 9 / 10);
}

/// A pipeline of alike ranks, without anything around the passes.
StepCost uniform_step(int ranks, int chunks, std::int64_t micro_batches, double forward_s,
                      double backward_s) {
  StepCost step;
  step.num_micro_batches = micro_batches;
  step.ranks.resize(static_cast<std::size_t>(ranks));
  ChunkCost chunk;
  chunk.forward_s = forward_s / chunks;
  chunk.backward_input_s = backward_s / chunks / 2;
  chunk.backward_weight_s = backward_s / chunks / 2;
  step.chunks.assign(static_cast<std::size_t>(ranks * chunks), chunk);
  return step;
}

TEST(SearchBound, IsTheFormulaOfUniformPipelinesAndSoIsTheSimulator) {
  SearchCases cases(4);
  for (int i = 0; i < 500; ++i) {
    const int p = cases.from_to(1, 12);
    const int v = p > 1 && cases.flip() ? cases.from_to(2, 5) : 1;
    const int m = v > 1 ? p * cases.from_to(1, 6) : cases.from_to(1, 60);
    const double f = cases.between(0.5, 2), b = cases.between(0.5, 4);
    ParallelLayout layout;
    layout.pipeline_parallel = p;
    layout.virtual_stages_per_rank = v;
    if (v > 1) {
      layout.schedule = ScheduleKind::interleaved;
    } else if (cases.flip()) {
      layout.schedule = ScheduleKind::gpipe;
    }
    SCOPED_TRACE(to_text(layout));
    const StepCost step = uniform_step(p, v, m, f, b);
    std::vector<RankSegment> segments;
    for (int rank = 0; rank < p; ++rank) segments.push_back({rank, rank});

    const double formula = m * (f + b) + (p - 1) * (f + b) / v;
    const auto schedule = make_schedule(layout.schedule, p, v, m);
    ASSERT_TRUE(schedule);
    EXPECT_NEAR(simulate(*schedule, step).step_s, formula, 1e-9 * formula);
    EXPECT_NEAR(least_step_seconds(step, segments, layout), formula, 1e-8 * formula);
  }
}

TEST(SearchBound, CountsMessagesThatOneForwardOneBackwardWaitsFor) {
  // 4 ranks, 13 micro-batches, f = 1, b = 2, messages of 0.1. In steady state every 4 micro-batches
  // wait for 2 x 3 messages: 12 / 4 turns of 4 (f + b) + 6 x 0.1, then the last micro-batch's way
  // there and back.
  const int p = 4, m = 13;
  StepCost step = uniform_step(p, 1, m, 1, 2);
  StepCost kinds = uniform_step(3, 1, m, 1, 2);  // the two ranks in the middle are alike
  for (std::size_t stage = 0; stage < 3; ++stage) step.chunks[stage].message_s = 0.1;
  for (std::size_t stage = 0; stage < 2; ++stage) kinds.chunks[stage].message_s = 0.1;
  ParallelLayout layout;
  layout.pipeline_parallel = p;
  const double expected = 3 * (4 * (1 + 2) + 6 * 0.1) + 4 * (1 + 2) + 6 * 0.1;
  const auto schedule = make_schedule(layout.schedule, p, 1, m);
  ASSERT_TRUE(schedule);
  EXPECT_NEAR(simulate(*schedule, step).step_s, expected, 1e-9);
  EXPECT_NEAR(least_step_seconds(kinds, {{0, 0}, {1, 2}, {3, 3}}, layout), expected, 1e-6);
}

}  // namespace
}  // namespace kumihimo
