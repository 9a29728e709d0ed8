// Weights that ZeRO-1 and 2 have updated travel to the other ranks behind what follows, and change
// no bit by it.

#include <algorithm>
#include <gtest/gtest.h>
#include <utility>

#include "support/between_steps.hpp"
#include "support/open_gpus.hpp"
#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

using testing::RunResult;
using testing::small_gpt;
using testing::small_llama;
using testing::small_options;

TrainingOptions without_overlap(TrainingOptions options) {
  options.layout.overlap_data_parallel = false;
  return options;
}

void expect_overlap_changes_nothing(const TrainingOptions& options,
                                    const testing::OpenGpu& open_gpu = nullptr) {
  SCOPED_TRACE(to_text(options.layout));
  const RunResult behind = testing::train(options, 6, true, open_gpu);
  const RunResult before = testing::train(without_overlap(options), 6, true, open_gpu);
  ASSERT_FALSE(behind.weights.empty());
  EXPECT_EQ(behind.losses, before.losses);
  EXPECT_EQ(behind.gradient_norms, before.gradient_norms);
  EXPECT_TRUE(behind.weights == before.weights);
}

class WeightGathering : public ::testing::TestWithParam<const char*> {};

TEST_P(WeightGathering, BehindTheStepChangesNoBit) {
  expect_overlap_changes_nothing(small_options(small_llama(), GetParam(), "bf16"));
  expect_overlap_changes_nothing(small_options(small_gpt(), GetParam(), "fp32"),
                                 testing::open_lazily);
  TrainingOptions recorded = small_options(small_llama(), GetParam(), "bf16");
  recorded.record_passes = recorded.layout.tensor_parallel == 1;
  expect_overlap_changes_nothing(recorded, testing::open_lazily);
}

INSTANTIATE_TEST_SUITE_P(Layouts, WeightGathering,
                         ::testing::Values("dp=2 zero=1", "dp=4 zero=2", "pp=2 dp=2 zero=2",
                                           "pp=2 dp=2 zero=1 schedule=interleaved vpp=2",
                                           "pp=2 dp=2 zero=1 schedule=zb-h1",
                                           "tp=2 pp=2 dp=2 zero=1 sp=true"));

TEST(WeightGatheringFp8, BehindTheStepChangesNoBit) {
  expect_overlap_changes_nothing(small_options(small_llama(), "tp=2 dp=2 zero=1", "fp8"));
}

TEST(WeightGatheringBetweenSteps, StatesAreReadAndSetAsWithout) {
  for (const auto& [layout, precision] :
       {std::pair("dp=2 zero=1", "fp32"), std::pair("pp=2 dp=2 zero=2", "bf16")}) {
    SCOPED_TRACE(layout);
    const TrainingOptions options = small_options(small_gpt(), layout, precision);
    const auto expected = testing::read_and_set_between_steps(without_overlap(options));
    EXPECT_TRUE(testing::read_and_set_between_steps(options) == expected);
    EXPECT_TRUE(testing::read_and_set_between_steps(options, testing::open_lazily) == expected);
  }
}

/// Collectives of the stream that a step has waited for when it computes attention, time by time.
std::vector<int> waited_before_attention(Trainer& trainer) {
  trainer.recorder().take_spans();
  trainer.run_step();
  std::vector<int> result;
  int waited = 0;
  for (const RecordedSpan& span : trainer.recorder().take_spans()) {
    waited += span.on_stream ? 1 : 0;
    if (span.activity == Activity::attention) result.push_back(waited);
  }
  return result;
}

TEST(WeightGatheringOrder, AStepWaitsForAUnitsWeightsAtTheirFirstUse) {
  for (const char* layout : {"dp=2 zero=1", "dp=2 zero=2"}) {
    SCOPED_TRACE(layout);
    const TrainingOptions options = small_options(small_llama(), layout);
    testing::with_trainers(options, nullptr, [](Trainer& trainer, const World&) {
      trainer.recorder().keep_spans(true);
      for (int step = 0; step < 3; ++step) {
        const std::vector<int> waited = waited_before_attention(trainer);
        ASSERT_GE(waited.size(), 4u);
        // The table, then one layer after the other; the head's come after them.
        EXPECT_EQ(std::vector(waited.begin(), waited.begin() + 4), (std::vector{2, 3, 4, 5}));
      }
    });
    testing::with_trainers(without_overlap(options), nullptr, [](Trainer& trainer, const World&) {
      trainer.recorder().keep_spans(true);
      EXPECT_EQ(waited_before_attention(trainer).front(), 0);
      EXPECT_EQ(waited_before_attention(trainer).front(), 0);
    });
  }
}

TEST(WeightGatheringOrder, TheEndOfARunWaitsForWhatIsOnItsWay) {
  const TrainingOptions options = small_options(small_llama(), "dp=2 zero=1");
  testing::with_trainers(options, nullptr, [](Trainer& trainer, const World&) {
    trainer.recorder().keep_spans(true);
    const auto waited = [&] {
      const std::vector<RecordedSpan> spans = trainer.recorder().take_spans();
      return std::count_if(spans.begin(), spans.end(),
                           [](const RecordedSpan& span) { return span.on_stream; });
    };
    trainer.run_step();
    waited();
    trainer.end_run();
    EXPECT_EQ(waited(), 7);  // table, four layers, final norm, head
    trainer.end_run();
    EXPECT_EQ(waited(), 0);
  });
}

}  // namespace
}  // namespace kumihimo
