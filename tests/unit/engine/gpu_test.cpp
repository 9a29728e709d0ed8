// The engine's oracles on a real GPU.

#include <gtest/gtest.h>

#include "support/real_gpu.hpp"
#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

using testing::RunResult;
using testing::small_gpt;
using testing::small_llama;
using testing::small_options;

constexpr std::int64_t steps = 3;

class EngineOnGpu : public ::testing::Test {
 protected:
  void SetUp() override { KUMIHIMO_NEEDS_GPU(gpus); }
  RunResult train(const TrainingOptions& options) {
    return testing::train(options, steps, false, [this](int) { return gpus.open(); });
  }
  static void expect_close(const RunResult& run, const RunResult& expected, double tolerance) {
    ASSERT_EQ(run.losses.size(), expected.losses.size());
    for (std::size_t i = 0; i < run.losses.size(); ++i) {
      EXPECT_NEAR(run.losses[i], expected.losses[i], tolerance * expected.losses[i]);
      EXPECT_NEAR(run.gradient_norms[i], expected.gradient_norms[i],
                  10 * tolerance * expected.gradient_norms[i]);
    }
  }
  testing::RealGpus gpus;
};

TEST_F(EngineOnGpu, OneRankTrainsToTheLossesOfTheReference) {
  for (const TransformerShape& model : {small_llama(), small_gpt()}) {
    const RunResult expected = testing::train(small_options(model, ""), steps);
    expect_close(train(small_options(model, "")), expected, 1e-5);
    expect_close(train(small_options(model, "", "bf16")), expected, 1e-2);
    expect_close(train(small_options(model, "", "fp8")), expected, 3e-2);
  }
}

TEST_F(EngineOnGpu, LayoutsThatShareTheGpuTrainToTheLossesOfOneRank) {
  for (const TransformerShape& model : {small_llama(), small_gpt()}) {
    const RunResult one = train(small_options(model, ""));
    for (const char* layout :
         {"tp=2", "tp=2 sp=true", "pp=2", "pp=4 schedule=gpipe", "pp=2 schedule=interleaved vpp=2",
          "pp=2 schedule=zb-h1", "dp=2 zero=0", "dp=2 zero=1", "dp=2 zero=2", "dp=2 zero=3",
          "dp=4 zero=3 recompute=full", "tp=2 pp=2 dp=2 zero=1 sp=true", "attention=unfused",
          "attention=fused-softmax recompute=selective", "norm=unfused"}) {
      SCOPED_TRACE(layout);
      expect_close(train(small_options(model, layout)), one, 1e-5);
    }
  }
}

TEST_F(EngineOnGpu, TheSameRunGivesTheSameBits) {
  const TrainingOptions options = small_options(small_llama(), "tp=2 dp=2 zero=2", "bf16");
  EXPECT_EQ(train(options).losses, train(options).losses);
}

}  // namespace
}  // namespace kumihimo
