#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

constexpr std::int64_t steps = 2;

TransformerShape tiny(TransformerShape model) {
  model.hidden = 16;
  model.head_dim = 4;
  model.ffn_hidden = 16;
  return model;
}

TrainingOptions tiny_options(const std::string& layout, const std::string& precision = "fp32") {
  TrainingOptions options = testing::small_options(tiny(testing::small_llama()), "");
  options.layout = *parse_layout("precision=" + precision + " " + layout);
  options.job.seq_length = 8;
  return options;
}

testing::RunResult run(const TrainingOptions& options) {
  return testing::train(options, steps, true);
}

/// Losses and all weights after the last step, to the bit: no tolerance anywhere.
void expect_same_bits(const testing::RunResult& a, const testing::RunResult& b) {
  ASSERT_EQ(a.losses.size(), static_cast<std::size_t>(steps));
  EXPECT_EQ(a.losses, b.losses);
  ASSERT_FALSE(a.weights.empty());
  EXPECT_EQ(a.weights, b.weights);
}

TEST(EqualBits, RunsRepeat) {
  const TrainingOptions options = tiny_options("tp=2 pp=2 dp=2 zero=1 sp=true", "bf16");
  expect_same_bits(run(options), run(options));
}

/// What is computed again is what was computed: for kernels that keep different things, for every
/// precision, with and without a separate weight pass.
TEST(EqualBits, RecomputeChangesNothing) {
  struct Case {
    const char* kernels;
    const char* precision;
    const char* axes;
  };
  const std::vector<Case> cases{
      {"attention=unfused norm=unfused", "fp32", "schedule=1f1b"},
      {"attention=fused-softmax norm=fused", "bf16", "schedule=1f1b"},
      {"attention=flash2 norm=fused", "fp8", "schedule=1f1b"},
      {"attention=flash2 norm=unfused", "bf16", "pp=2 schedule=zb-h1"},
      {"attention=unfused norm=fused", "fp8", "pp=2 schedule=zb-h1"},
      {"attention=flash2 norm=fused", "fp32", "pp=2 schedule=zb-h1 tp=2 sp=true"},
      {"attention=fused-softmax norm=unfused", "fp8", "pp=2 schedule=interleaved vpp=2"},
      {"attention=flash2 norm=fused", "bf16", "pp=2 schedule=gpipe"},
  };
  for (const Case& c : cases) {
    const std::string layout = fmt::format("{} {} recompute=", c.kernels, c.axes);
    SCOPED_TRACE(layout + " " + c.precision);
    const testing::RunResult none = run(tiny_options(layout + "none", c.precision));
    expect_same_bits(run(tiny_options(layout + "selective", c.precision)), none);
    expect_same_bits(run(tiny_options(layout + "full", c.precision)), none);
  }
}

/// Stages 0 and 1 add up a rank's micro-batches and reduce once; 2 and 3 reduce each micro-batch.
/// With one micro-batch a step that is the same sum.
TEST(EqualBits, ZeroStagesThatReduceInOneOrderAreEqual) {
  for (const int micro_batch_size : {1, 4}) {
    std::vector<testing::RunResult> runs;
    for (const int zero : {0, 1, 2, 3}) {
      runs.push_back(run(tiny_options(
          fmt::format("dp=2 zero={} micro-batch={}", zero, micro_batch_size), "bf16")));
    }
    SCOPED_TRACE(micro_batch_size);
    expect_same_bits(runs[1], runs[0]);
    expect_same_bits(runs[3], runs[2]);
    if (micro_batch_size == 4) expect_same_bits(runs[2], runs[0]);
  }
}

/// All add up a layer's gradients in the order of micro-batches. The model is untied: a tied table
/// is added to by both ends of the pipeline, in an order of the schedule's own.
TEST(EqualBits, SchedulesAreEqual) {
  const testing::RunResult gpipe = run(tiny_options("pp=2 schedule=gpipe"));
  expect_same_bits(run(tiny_options("pp=2 schedule=1f1b")), gpipe);
  expect_same_bits(run(tiny_options("pp=2 schedule=interleaved vpp=2")), gpipe);
  expect_same_bits(run(tiny_options("pp=2 schedule=zb-h1")), gpipe);
}

TEST(EqualBits, OverlapChangesNothing) {
  for (const int zero : {0, 1, 2, 3}) {
    TrainingOptions options = tiny_options(fmt::format("dp=2 zero={}", zero));
    options.layout.overlap_data_parallel = true;
    const testing::RunResult overlapped = run(options);
    options.layout.overlap_data_parallel = false;
    SCOPED_TRACE(zero);
    expect_same_bits(run(options), overlapped);
  }
}

}  // namespace
}  // namespace kumihimo
