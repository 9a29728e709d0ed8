// The engine on the CUDA kernels, which run on an emulated GPU (tensor/cuda_emulation) beside the
// rank's thread: what they compute, and in which order they are asked to, without a GPU.

#include <gtest/gtest.h>

#include "support/open_gpus.hpp"
#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

using testing::RunResult;
using testing::small_gpt;
using testing::small_llama;
using testing::small_options;

constexpr std::int64_t steps = 3;

void expect_near(const std::vector<double>& actual, const std::vector<double>& expected,
                 double relative) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_NEAR(actual[i], expected[i], relative * expected[i]) << "step " << i;
  }
}

class EmulatedCuda : public ::testing::TestWithParam<const char*> {};

TEST_P(EmulatedCuda, FollowsTheReferenceInFp32) {
  for (const TransformerShape& model : {small_llama(), small_gpt()}) {
    SCOPED_TRACE(model.name);
    const RunResult expected = testing::train(small_options(model, "tp=1"), steps);
    const RunResult actual =
        testing::train(small_options(model, GetParam()), steps, false, testing::open_emulated(1));
    expect_near(actual.losses, expected.losses, 1e-6);
    expect_near(actual.gradient_norms, expected.gradient_norms, 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, EmulatedCuda,
                         ::testing::Values("tp=1", "tp=1 attention=unfused norm=unfused",
                                           "tp=1 attention=fused-softmax recompute=selective",
                                           "tp=2 sp=true", "pp=2 schedule=zb-h1", "dp=2 zero=2",
                                           "dp=2 zero=3 recompute=full",
                                           "tp=2 pp=2 dp=2 zero=1 sp=true"));

/// Every back end rounds other intermediate results. AdamW's first steps move a weight by the sign
/// of its gradient, which rounding can turn, so that only the first gradient is compared: the cpu
/// back end's losses, too, are up to 1.7e-3 off by the fourth step.
TEST(EmulatedCudaPrecision, Bf16FollowsTheReferenceInBf16) {
  for (const TransformerShape& model : {small_llama(), small_gpt()}) {
    SCOPED_TRACE(model.name);
    const TrainingOptions options = small_options(model, "tp=2 zero=1 dp=2", "bf16");
    const RunResult expected = testing::train(options, steps);
    const RunResult actual = testing::train(options, steps, false, testing::open_emulated(1));
    expect_near(actual.losses, expected.losses, 2e-3);
    expect_near({actual.gradient_norms[0]}, {expected.gradient_norms[0]}, 1e-3);
  }
}

TEST(EmulatedCudaPrecision, Fp8FollowsTheReferenceInFp8) {
  const TrainingOptions options = small_options(small_llama(), "tp=1", "fp8");
  const RunResult expected = testing::train(options, 2);
  const RunResult actual = testing::train(options, 2, false, testing::open_emulated(1));
  expect_near(actual.losses, expected.losses, 2e-3);
  expect_near({actual.gradient_norms[0]}, {expected.gradient_norms[0]}, 1e-2);
}

/// Nothing depends on which thread, warp or block comes first.
TEST(EmulatedCudaOrder, ChangesNoBit) {
  for (const char* precision : {"fp32", "bf16"}) {
    const TrainingOptions options = small_options(small_llama(), "tp=1", precision);
    const RunResult first = testing::train(options, steps, true, testing::open_emulated(1));
    const RunResult again = testing::train(options, steps, true, testing::open_emulated(2));
    EXPECT_EQ(again.losses, first.losses);
    EXPECT_EQ(again.gradient_norms, first.gradient_norms);
    EXPECT_TRUE(again.weights == first.weights);
  }
}

}  // namespace
}  // namespace kumihimo
