#include "simulator/predict.hpp"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

#include "cost/extrapolation.hpp"
#include "support/round_machine.hpp"

namespace kumihimo {
namespace {

using testing::ideal_profile;
using testing::round_cluster;
using testing::small_job;

struct Example {
  TrainingJob job = small_job();
  ParallelLayout layout;
  Cluster cluster = round_cluster();
  StackProfile profile = ideal_profile();

  Prediction prediction() const { return predict(job, layout, cluster, profile); }
};

constexpr double per_layer = 64 * 3 * 64 + 64 * 64 + 3 * 64 * 96 + 2 * 64;
constexpr double weights = 8 * per_layer + 256 * 64 + 64 + 256 * 64;  // with table, norm and head
constexpr double scores = 8.0 * 64 * 32;                              // L h s
constexpr double tokens = 8.0 * 32;

TEST(Predict, MfuIsThePalmCountOverThePeak) {
  Example example;
  example.layout.data_parallel = 2;
  const Prediction prediction = example.prediction();
  EXPECT_DOUBLE_EQ(prediction.mfu,
                   (6 * weights + 12 * scores) * tokens / (prediction.step_s * 2 * 1e12));
  EXPECT_DOUBLE_EQ(prediction.mfu_causal,
                   (6 * weights + 6 * scores) * tokens / (prediction.step_s * 2 * 1e12));
  EXPECT_DOUBLE_EQ(prediction.tokens_per_s_per_device, tokens / prediction.step_s / 2);
}

TEST(Predict, MfuIsAShareOfThePeakOfThePrecisionInUse) {
  Example example;
  example.layout.precision = Precision::fp8;
  const Prediction prediction = example.prediction();
  EXPECT_DOUBLE_EQ(prediction.mfu,
                   (6 * weights + 12 * scores) * tokens / (prediction.step_s * 2e12));
}

TEST(Predict, HfuAddsWhatIsRecomputed) {
  Example example;
  Prediction prediction = example.prediction();
  EXPECT_DOUBLE_EQ(prediction.hfu, prediction.mfu);

  const double model = 6 * weights + 12 * scores;
  example.layout.recompute = Recompute::selective;  // the core's forward again
  prediction = example.prediction();
  EXPECT_NEAR(prediction.hfu / prediction.mfu, (model + 4 * scores) / model, 1e-12);

  example.layout.recompute = Recompute::full;  // every layer's, but neither table nor head
  prediction = example.prediction();
  EXPECT_NEAR(prediction.hfu / prediction.mfu, (model + 2 * 8 * per_layer + 4 * scores) / model,
              1e-12);

  // Some frameworks play the head again as well.
  example.profile.defaults.recompute_head = true;
  prediction = example.prediction();
  EXPECT_NEAR(prediction.hfu / prediction.mfu,
              (model + 2 * 8 * per_layer + 4 * scores + 2 * 256 * 64) / model, 1e-12);
}

TEST(Predict, OneDeviceTakesTheSumOfItsParts) {
  Example example;
  example.profile.step_s = 3;
  const PieceCosts pieces =
      piece_costs(example.job, example.layout, example.cluster, example.profile);
  double micro_batch = 0;
  for (const auto pass :
       {&PieceCost::forward, &PieceCost::backward_input, &PieceCost::backward_weight}) {
    micro_batch += 8 * (pieces.layer.*pass).total() + (pieces.embedding.*pass).total() +
                   (pieces.head.*pass).total();
  }
  const double optimizer = (3 * 4 + 2 * 12 + 2) * weights / 1e11;
  const Prediction prediction = example.prediction();
  EXPECT_NEAR(prediction.step_s, 8 * micro_batch + optimizer + 3, 1e-12);
  EXPECT_EQ(prediction.bubble_fraction, 0);
  EXPECT_EQ(prediction.communication_fraction, 0);
}

TEST(Predict, ReplicasTakeTheSameTimeEachForAsManySequencesEach) {
  Example example;
  example.cluster.intra_node.bandwidth = 1e30;
  const double alone = example.prediction().step_s;
  example.layout.data_parallel = 4;
  example.job.global_batch_size *= 4;
  EXPECT_NEAR(example.prediction().step_s, alone, 1e-12);
}

TEST(Predict, TheCommunicationShareIsOfTheStep) {
  Example example;
  example.layout.data_parallel = 4;
  const Prediction prediction = example.prediction();
  EXPECT_DOUBLE_EQ(prediction.communication_fraction * prediction.step_s,
                   2 * 3.0 / 4 * 4 * weights / 10e9);
}

TEST(Predict, MemoryThatJustFitsFitsWithEvenOdds) {
  Example example;
  example.profile.memory_residual = 0.05;
  example.profile.context_gib = 1;
  const double peak = example.prediction().peak_memory_bytes;
  ASSERT_GT(peak, GiB);
  const auto probability = [&](double capacity) {
    example.cluster.device.memory = static_cast<Bytes>(capacity);
    return example.prediction().fits_probability;
  };
  EXPECT_NEAR(probability(peak), 0.5, 1e-6);
  EXPECT_NEAR(probability(peak * std::exp(0.05)), 0.841345, 1e-5);  // one standard deviation
  EXPECT_NEAR(probability(peak * std::exp(-0.1)), 0.022750, 1e-5);  // two, the other way
}

TEST(Predict, ThePeakIsOfTheFullestRank) {
  Example example;
  example.layout.pipeline_parallel = 4;
  const Prediction prediction = example.prediction();
  ASSERT_EQ(prediction.memory.size(), 4u);
  double most = 0;
  for (const MemoryUse& use : prediction.memory) most = std::max(most, use.total());
  EXPECT_EQ(prediction.peak_memory_bytes, most);
}

TEST(Predict, MoreStagesOfTheSameDevicesWaitMoreAndHoldFewerWeights) {
  Example example;
  double bubble = -1;
  Bytes held = std::numeric_limits<Bytes>::max();
  for (const int stages : {1, 2, 4, 8}) {
    example.layout.pipeline_parallel = stages;
    const Prediction prediction = example.prediction();
    EXPECT_GT(prediction.bubble_fraction, bubble);
    EXPECT_LT(prediction.memory[0].weights, held);
    bubble = prediction.bubble_fraction;
    held = prediction.memory[0].weights;
  }
}

TEST(Predict, TheErrorBandIsTheProfiles) {
  Example example;
  example.profile.time_residual = 0.07;
  EXPECT_EQ(example.prediction().error_band, 0.07);
}

TEST(Predict, TheErrorBandWidensBeyondTheRunsOfTheFit) {
  Example example;
  const RangePoint here{&example.job, example.layout.devices(), example.cluster.device.name,
                        example.layout.precision};
  example.profile.range = range_of(std::vector{here});
  const double within = example.profile.time_residual;
  EXPECT_EQ(example.prediction().error_band, within);
  double band = within;
  for (int doubling = 0; doubling < 3; ++doubling) {
    example.layout.data_parallel *= 2;
    EXPECT_GT(example.prediction().error_band, band);
    band = example.prediction().error_band;
  }
  example.layout.precision = Precision::fp16;
  EXPECT_GT(example.prediction().error_band, band) << "no run had fp16";
}

}  // namespace
}  // namespace kumihimo
