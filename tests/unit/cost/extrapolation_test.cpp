#include "cost/extrapolation.hpp"

#include <cmath>
#include <gtest/gtest.h>
#include <vector>

#include "support/round_machine.hpp"

namespace kumihimo {
namespace {

TrainingJob job_of(int layers, std::int64_t seq_length) {
  TrainingJob job = testing::small_job();
  job.model.layers = layers;
  job.seq_length = seq_length;
  return job;
}

/// Fitted to 8 and 64 devices, 12 and 24 layers, 2,048 tokens, bf16, on one kind of device.
StackProfile fitted() {
  const TrainingJob small = job_of(12, 2048), large = job_of(24, 2048);
  StackProfile profile;
  profile.time_residual = 0.04;
  profile.range = range_of(std::vector<RangePoint>{{&large, 8, "A100", Precision::bf16},
                                                   {&small, 64, "A100", Precision::bf16}});
  return profile;
}

Extrapolation of(const StackProfile& profile, const TrainingJob& job, std::int64_t devices,
                 std::string_view device = "A100",
                 std::optional<Precision> precision = Precision::bf16) {
  return extrapolation(profile, {&job, devices, device, precision});
}

TEST(FittedRange, SpansItsRuns) {
  const FittedRange range = *fitted().range;
  EXPECT_EQ(range.devices, (Interval{8, 64}));
  EXPECT_EQ(range.seq_length, (Interval{2048, 2048}));
  EXPECT_EQ(range.layer_parameters.most, 2 * range.layer_parameters.least);
  EXPECT_EQ(range.device_names, std::vector<std::string>{"A100"});
  EXPECT_EQ(range.precisions, std::vector{Precision::bf16});
}

TEST(Extrapolation, IsNoneWithinTheRange) {
  const StackProfile profile = fitted();
  EXPECT_EQ(of(profile, job_of(18, 2048), 32), Extrapolation{});
  EXPECT_EQ(of(profile, job_of(12, 2048), 8), Extrapolation{});
  EXPECT_EQ(step_time_error(profile, {}), 0.04);
}

TEST(Extrapolation, CountsDoublingsAboveAndBelow) {
  const Extrapolation above = of(fitted(), job_of(96, 8192), 512);
  EXPECT_DOUBLE_EQ(above.layer_parameters, 2);
  EXPECT_DOUBLE_EQ(above.devices, 3);
  EXPECT_DOUBLE_EQ(above.seq_length, 2);
  const Extrapolation below = of(fitted(), job_of(6, 1024), 4);
  EXPECT_DOUBLE_EQ(below.layer_parameters, -1);
  EXPECT_DOUBLE_EQ(below.devices, -1);
  EXPECT_DOUBLE_EQ(below.seq_length, -1);
}

TEST(Extrapolation, DoesNotCountTheVocabularyAsModel) {
  TrainingJob job = job_of(24, 2048);
  job.model.vocab = 1'000'000;
  EXPECT_EQ(of(fitted(), job, 8), Extrapolation{});
}

TEST(Extrapolation, KnowsDevicesAndPrecisions) {
  const TrainingJob job = job_of(12, 2048);
  EXPECT_TRUE(of(fitted(), job, 8, "H100").other_device);
  EXPECT_TRUE(of(fitted(), job, 8, "A100", Precision::fp8).other_precision);
  EXPECT_FALSE(of(fitted(), job, 8, "A100", std::nullopt).other_precision);
}

TEST(Extrapolation, TakesWhatARangeDoesNotNameAsKnown) {
  StackProfile profile = fitted();
  profile.range->device_names.clear();
  profile.range->precisions.clear();
  EXPECT_EQ(of(profile, job_of(12, 2048), 8, "H100", Precision::fp8), Extrapolation{});
}

TEST(Extrapolation, IsUnknownWithoutARange) {
  StackProfile profile = fitted();
  profile.range.reset();
  EXPECT_EQ(of(profile, job_of(96, 8192), 4096, "H100"), Extrapolation{});
}

TEST(StepTimeError, GrowsWithEachDistanceAndAddsInQuadrature) {
  const StackProfile profile = fitted();
  const std::vector<Extrapolation> single{{.layer_parameters = 1},
                                          {.devices = 1},
                                          {.seq_length = 1},
                                          {.other_device = true},
                                          {.other_precision = true}};
  double variance = 0.04 * 0.04;
  for (const Extrapolation& beyond : single) {
    const double error = step_time_error(profile, beyond);
    EXPECT_GT(error, 0.04);
    variance += error * error - 0.04 * 0.04;
  }
  const Extrapolation all{1, 1, 1, true, true};
  EXPECT_NEAR(step_time_error(profile, all), std::sqrt(variance), 1e-12);
  EXPECT_EQ(step_time_error(profile, {.devices = -2}), step_time_error(profile, {.devices = 2}));
}

}  // namespace
}  // namespace kumihimo
