// The engine's oracles on a real GPU.

#include <gtest/gtest.h>
#include <string>

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
  RunResult train(const TrainingOptions& options, std::int64_t steps_ = steps,
                  GpuOptions gpu = {}) {
    return testing::train(options, steps_, true, [this, gpu](int) { return gpus.open(gpu); });
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

void expect_same_bits(const RunResult& run, const RunResult& expected) {
  EXPECT_EQ(run.losses, expected.losses);
  EXPECT_EQ(run.gradient_norms, expected.gradient_norms);
  ASSERT_FALSE(run.weights.empty());
  EXPECT_TRUE(run.weights == expected.weights);
}

/// Two until the workspace settles, one that shows it, recordings.
constexpr std::int64_t recorded_steps = 6;

/// CUDA graphs, and what is captured: our kernels, cuBLASLt's.
TEST_F(EngineOnGpu, RecordedPassesChangeNoBit) {
  for (const char* precision : {"fp32", "bf16", "fp8"}) {
    for (const char* layout : {"", "recompute=full", "pp=2 schedule=zb-h1", "dp=2 zero=3",
                               "attention=unfused norm=unfused"}) {
      SCOPED_TRACE(std::string(precision) + " " + layout);
      TrainingOptions options = small_options(small_llama(), layout, precision);
      const RunResult plain = train(options, recorded_steps);
      options.record_passes = true;
      expect_same_bits(train(options, recorded_steps), plain);
    }
  }
}

/// Copies on streams of their own, from and to pinned memory.
TEST_F(EngineOnGpu, OffloadedStatesChangeNoBit) {
  for (const char* layout : {"", "dp=2 zero=1", "dp=2 zero=3"}) {
    for (const bool recorded : {false, true}) {
      SCOPED_TRACE(std::string(layout) + (recorded ? " recorded" : ""));
      TrainingOptions options = small_options(small_gpt(), layout, "bf16");
      const RunResult plain = train(options, recorded_steps);
      options.layout.offload.optimizer = true;
      options.offload_portion = 1237;  // a few dozen portions
      options.record_passes = recorded;
      expect_same_bits(train(options, recorded_steps), plain);
    }
  }
}

/// Sequences and heads that cuDNN takes, with heads that share keys and values, plain and captured.
TEST_F(EngineOnGpu, TheLibrarysAttentionTrainsToTheLossesOfOurOwn) {
  TransformerShape model = small_llama();
  model.hidden = 256;
  model.head_dim = 64;
  model.max_positions = 256;
  TrainingOptions options = small_options(model, "", "bf16");
  options.job.seq_length = 256;
  options.learning_rate.peak = 1e-3;
  const RunResult own = train(options, recorded_steps, {.library_attention = false});
  expect_close(train(options, recorded_steps), own, 1e-3);
  options.record_passes = true;
  expect_close(train(options, recorded_steps), own, 1e-3);
}

/// Algorithms that were timed are as good as those that were not.
TEST_F(EngineOnGpu, TimedProductsTrainToTheLossesOfOthers) {
  TransformerShape model = small_llama();
  model.hidden = 512;  // 2 x 512 x 512 x 2 x 1536 FLOPs are worth timing
  model.head_dim = 128;
  model.ffn_hidden = 1536;
  model.max_positions = 256;
  for (const char* precision : {"bf16", "fp8"}) {
    SCOPED_TRACE(precision);
    TrainingOptions options = small_options(model, "micro-batch=2", precision);
    options.job.seq_length = 256;
    options.learning_rate.peak = 1e-3;
    const RunResult untimed = train(options);
    const auto backend = gpus.backend;
    const RunResult timed =
        testing::train(options, steps, false, [&](int) { return backend->open(0, GpuOptions{}); });
    expect_close(timed, untimed, 2e-3);
  }
}

}  // namespace
}  // namespace kumihimo
