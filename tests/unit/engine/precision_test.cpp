#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

constexpr std::int64_t steps = 2;

/// With initial weights of deviation 0.02 the logits of these models stay below 1/4.
constexpr double largest_logit = 0.25;

std::vector<double> losses(const std::string& layout, const std::string& precision,
                           Fp8Options fp8 = {}) {
  TrainingOptions options = testing::small_options(testing::small_llama(), "");
  options.layout = *parse_layout("precision=" + precision + " " + layout);
  options.job.seq_length = 8;
  options.learning_rate.peak = 1e-3;
  options.fp8 = fp8;
  return testing::train(options, steps).losses;
}

void expect_near(const std::vector<double>& run, const std::vector<double>& expected,
                 double bound) {
  ASSERT_EQ(run.size(), static_cast<std::size_t>(steps));
  for (std::size_t i = 0; i < run.size(); ++i) EXPECT_NEAR(run[i], expected[i], bound) << i;
}

const std::vector<std::string>& layouts() {
  static const std::vector<std::string> all{"tp=2",
                                            "tp=4 sp=true recompute=full",
                                            "pp=4 schedule=zb-h1",
                                            "pp=2 schedule=interleaved vpp=2 zero=1",
                                            "dp=4 zero=3",
                                            "tp=2 pp=2 dp=2 zero=2 sp=true"};
  return all;
}

/// They take the same sums in other orders: a few fp32 roundings of a loss near ln 50.
TEST(PrecisionBounds, KernelsAgreeInLosses) {
  const std::vector<double> expected = losses("attention=unfused norm=unfused", "fp32");
  for (const char* attention : {"unfused", "fused-softmax", "flash2"}) {
    for (const char* norm : {"unfused", "fused"}) {
      SCOPED_TRACE(fmt::format("{} {}", attention, norm));
      expect_near(losses(fmt::format("attention={} norm={}", attention, norm), "fp32"), expected,
                  1e-5 * expected[0]);
    }
  }
}

/// A layout rounds partial sums to bf16 where one rank has none: at most once more for each of the
/// two sums of a layer and their total, each time by 2^-9 of what flows on. The loss moves at most
/// as far as the logits, twice (of the target, of the largest):
///   2 x (4 layers x 2 sums x 2 roundings) x 2^-9 x 1/4 = 2^-6
TEST(PrecisionBounds, Bf16LayoutsAgreeWithOneRank) {
  const std::vector<double> one = losses("", "bf16");
  const double bound = 2 * (4 * 2 * 2) * 0x1p-9 * largest_logit;
  for (const std::string& layout : layouts()) {
    SCOPED_TRACE(layout);
    expect_near(losses(layout, "bf16"), one, bound);
  }
}

/// Scales are powers of two: other scales on other ranks round nothing differently above the
/// smallest numbers. What bf16 rounds differently can fall on the other side of an fp8 rounding,
/// 2^-4 of an element in E4M3; through 32 elements or more of independent sign a product passes
/// on less than a fourth of that:
///   2 x (4 layers x 2 products) x 2^-4 / 4 x 1/4 = 2^-4
TEST(PrecisionBounds, Fp8LayoutsAgreeWithOneRank) {
  for (const Fp8Scaling scaling : {Fp8Scaling::delayed, Fp8Scaling::current}) {
    const std::vector<double> one = losses("", "fp8", {.scaling = scaling});
    const double bound = 2 * (4 * 2) * 0x1p-4 / 4 * largest_logit;
    for (const std::string& layout : layouts()) {
      SCOPED_TRACE(layout);
      expect_near(losses(layout, "fp8", {.scaling = scaling}), one, bound);
    }
  }
}

TEST(PrecisionBounds, EdgesInBf16ChangeTheLossLittleButDoChangeIt) {
  const std::vector<double> all = losses("", "fp8");
  const std::vector<double> edges = losses("", "fp8", {.edges_in_bf16 = true});
  EXPECT_NE(edges, all);
  expect_near(edges, all, 0x1p-4);
}

}  // namespace
}  // namespace kumihimo
