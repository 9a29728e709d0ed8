#include "engine/compare_precision.hpp"

#include <cmath>
#include <gtest/gtest.h>

#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

PrecisionComparison compare(Precision a, Precision b, const std::string& layout = "",
                            double tolerance = 0.05, double peak = 1e-2, std::int64_t steps = 5) {
  PrecisionComparisonOptions options;
  options.training = testing::small_options(testing::small_llama(), layout);
  options.training.job.seq_length = 8;
  options.training.learning_rate.peak = peak;
  options.precisions = {a, b};
  options.steps = steps;
  options.tolerance = tolerance;
  return compare_precision(options, testing::learnable_tokens(1, 8, 50));
}

TEST(ComparePrecision, OnePrecisionAgreesWithItself) {
  for (const Precision precision : {Precision::fp32, Precision::fp8}) {
    const PrecisionComparison same = compare(precision, precision, "tp=2 dp=2 zero=2", 0);
    ASSERT_EQ(same.steps.size(), 5u);
    for (const PrecisionStep& step : same.steps) {
      EXPECT_EQ(step.gap, 0);
      EXPECT_EQ(step.smoothed_gap, 0);
      EXPECT_NEAR(step.gradient_cosine, 1, 1e-12);
    }
    for (const ParameterAgreement& p : same.parameters) EXPECT_NEAR(p.cosine, 1, 1e-12);
    EXPECT_EQ(same.parameters.size(), 4u * 9 + 3);
    EXPECT_TRUE(same.within_tolerance());
    EXPECT_EQ(same.first_step_beyond, -1);
  }
}

TEST(ComparePrecision, Fp8DiffersFromBf16ByALittle) {
  for (const char* layout : {"", "tp=2 pp=2 zero=1"}) {
    SCOPED_TRACE(layout);
    const PrecisionComparison result = compare(Precision::bf16, Precision::fp8, layout, 0.05, 1e-3);
    EXPECT_GT(result.mean_gap, 0);
    EXPECT_LT(result.mean_gap, 0.05);
    for (const PrecisionStep& step : result.steps) {
      EXPECT_NEAR(step.gap, step.losses[1] / step.losses[0] - 1, 1e-12);
      EXPECT_LT(step.gradient_cosine, 1);
    }
    // From the same weights only the casts differ; later the weights do too.
    EXPECT_GT(result.steps[0].gradient_cosine, 0.95);
    EXPECT_TRUE(result.uses_fp8());
    EXPECT_TRUE(result.tensors[0].empty());
    ASSERT_EQ(result.tensors[1].size(), 4u * linear_roles * fp8_operands);
    EXPECT_EQ(result.tensors[1].front().layer, 0);
    EXPECT_EQ(result.tensors[1].back().layer, 3);
  }
}

/// A weight matrix is cast twice a micro-batch, forward and for the gradient of the input: 8
/// micro-batches, 5 steps, (4 + 2 x 2) heads of 8 by 32.
TEST(ComparePrecision, CastsOfAllRanksAreCounted) {
  constexpr std::int64_t expected = std::int64_t{2} * 8 * 5 * (8 * 8) * 32;
  for (const char* layout : {"", "tp=2", "pp=2", "dp=2 zero=3"}) {
    const PrecisionComparison result = compare(Precision::bf16, Precision::fp8, layout);
    const Fp8TensorCounts& weight = result.tensors[1][1];
    ASSERT_EQ(weight.operand, Fp8Operand::weight);
    EXPECT_EQ(weight.counts.elements, expected) << layout;
    EXPECT_LE(weight.underflow_share(), 1);
  }
}

/// Delayed scaling meets numbers larger than those it has seen where weights move fast.
TEST(ComparePrecision, OverflowsAreSeenWhereWeightsGrowFast) {
  const PrecisionComparison result =
      compare(Precision::bf16, Precision::fp8, "", 0.05, /*peak=*/0.3);
  std::int64_t overflowed = 0, underflowed = 0;
  for (const Fp8TensorCounts& tensor : result.tensors[1]) {
    overflowed += tensor.counts.overflowed;
    underflowed += tensor.counts.underflowed;
  }
  EXPECT_GT(overflowed, 0);
  EXPECT_GT(underflowed, 0);
}

TEST(ComparePrecision, TheVerdictIsTheTolerances) {
  const double gap = compare(Precision::fp32, Precision::fp8).mean_gap;
  const PrecisionComparison wide = compare(Precision::fp32, Precision::fp8, "", gap);
  EXPECT_TRUE(wide.within_tolerance());
  const PrecisionComparison narrow = compare(Precision::fp32, Precision::fp8, "", gap / 2);
  EXPECT_FALSE(narrow.within_tolerance());
  EXPECT_GE(narrow.first_step_beyond, 0);
  EXPECT_GT(std::abs(narrow.steps[static_cast<std::size_t>(narrow.first_step_beyond)].gap),
            gap / 2);
}

/// A training that breaks down is never within any tolerance.
TEST(ComparePrecision, ATrainingThatFailsSaysSo) {
  PrecisionComparisonOptions options;
  options.training = testing::small_options(testing::small_llama(), "pp=2");
  options.training.optimizer = {.kind = OptimizerKind::sgd, .clip_norm = 0};
  options.training.learning_rate.peak = 1e38;
  options.precisions = {Precision::fp32, Precision::bf16};
  options.steps = 6;
  options.tolerance = 1e9;
  const PrecisionComparison result =
      compare_precision(options, testing::learnable_tokens(1, 16, 50));
  EXPECT_LT(result.steps.size(), 6u);
  EXPECT_FALSE(result.failures[0].empty() && result.failures[1].empty());
  EXPECT_FALSE(result.within_tolerance());
}

}  // namespace
}  // namespace kumihimo
