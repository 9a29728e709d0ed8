// Optimizer states in host memory: the same training, to the bit, wherever and however late the
// copies are made.

#include <atomic>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/between_steps.hpp"
#include "support/in_folder.hpp"
#include "support/open_gpus.hpp"
#include "support/resumed_runs.hpp"
#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

using testing::RunResult;
using testing::small_gpt;
using testing::small_llama;
using testing::small_options;

constexpr std::int64_t steps = 4;
/// Of no piece, shard or vector a multiple: a few dozen portions of the small models.
constexpr std::int64_t small_portion = 1237;

TrainingOptions with_offload(TrainingOptions options, std::int64_t portion = small_portion) {
  options.layout.offload.optimizer = true;
  options.offload_portion = portion;
  return options;
}

void expect_same_bits(const RunResult& actual, const RunResult& expected) {
  ASSERT_EQ(actual.losses.size(), static_cast<std::size_t>(steps));
  EXPECT_EQ(actual.losses, expected.losses);
  EXPECT_EQ(actual.gradient_norms, expected.gradient_norms);
  ASSERT_FALSE(actual.weights.empty());
  EXPECT_TRUE(actual.weights == expected.weights);
}

void expect_offload_changes_nothing(const TrainingOptions& options,
                                    const testing::OpenGpu& open_gpu = nullptr) {
  SCOPED_TRACE(to_text(options.layout));
  expect_same_bits(testing::train(with_offload(options), steps, true, open_gpu),
                   testing::train(options, steps, true, open_gpu));
}

class Offload : public ::testing::TestWithParam<const char*> {};

TEST_P(Offload, ChangesNoBitOnTheHost) {
  for (const char* precision : {"fp32", "bf16"}) {
    expect_offload_changes_nothing(small_options(small_gpt(), GetParam(), precision));
    TrainingOptions options = small_options(small_llama(), GetParam(), precision);
    options.backend = Backend::cpu;
    options.threads_per_rank = 2;
    expect_offload_changes_nothing(options);
  }
}

TEST_P(Offload, ChangesNoBitOnAGpuThatDoesEverythingLater) {
  expect_offload_changes_nothing(small_options(small_llama(), GetParam(), "fp32"),
                                 testing::open_lazily);
  TrainingOptions sgd = small_options(small_gpt(), GetParam(), "bf16");
  sgd.optimizer.kind = OptimizerKind::sgd;
  expect_offload_changes_nothing(sgd, testing::open_lazily);
}

INSTANTIATE_TEST_SUITE_P(Layouts, Offload,
                         ::testing::Values("tp=1", "dp=2 zero=0", "dp=2 zero=1", "dp=2 zero=2",
                                           "dp=2 zero=3", "pp=2 schedule=interleaved vpp=2",
                                           "pp=2 schedule=zb-h1", "pp=2 dp=2 zero=2",
                                           "pp=2 dp=2 zero=3 schedule=interleaved vpp=2",
                                           "tp=2 pp=2 dp=2 zero=1 sp=true",
                                           "dp=2 zero=2 overlap-dp=false"));

TEST(OffloadFp8, ChangesNoBit) {
  const TrainingOptions options = small_options(small_llama(), "tp=2 dp=2 zero=2", "fp8");
  expect_offload_changes_nothing(options);
  expect_offload_changes_nothing(options, testing::open_lazily);
}

TEST(OffloadOnEmulatedCuda, ChangesNoBit) {
  for (const char* precision : {"fp32", "bf16"}) {
    expect_offload_changes_nothing(small_options(small_llama(), "dp=2 zero=1", precision),
                                   testing::open_emulated(1));
  }
}

/// Passes are recorded with updates between them: one inside would be refused, or done again.
TEST(OffloadRecorded, ChangesNoBit) {
  for (const char* layout : {"recompute=full", "pp=2 dp=2 zero=1", "dp=2 zero=3"}) {
    SCOPED_TRACE(layout);
    TrainingOptions options = small_options(small_llama(), layout, "bf16");
    const RunResult plain = testing::train(options, 6, true, testing::open_lazily);
    options.record_passes = true;
    const RunResult moved = testing::train(with_offload(options), 6, true, testing::open_lazily);
    EXPECT_EQ(moved.losses, plain.losses);
    EXPECT_EQ(moved.gradient_norms, plain.gradient_norms);
    EXPECT_TRUE(moved.weights == plain.weights);
  }
}

/// One portion, as many as there are places, one more, portions of the states' exact size, and some
/// that many units share or that share a unit.
TEST(OffloadPortions, AnyNumberGivesTheSame) {
  for (const char* layout :
       {"tp=1", "dp=2 zero=3", "dp=3 zero=1", "pp=2 schedule=interleaved vpp=2"}) {
    SCOPED_TRACE(layout);
    TrainingOptions options = small_options(small_llama(), layout, "bf16");
    options.job.global_batch_size = 6;
    const RunResult expected = testing::train(options, steps, true);
    std::atomic<std::int64_t> held = 0;  // with what pads the shards of three ranks
    testing::with_trainers(with_offload(options), nullptr, [&](Trainer& trainer, const World&) {
      held = trainer.host_memory().held().total() / (3 * bytes_of(DType::fp32));
    });
    const std::int64_t parameters = held;
    for (const std::int64_t portion : {parameters + 1, parameters, parameters - 1,
                                       (parameters + 2) / 3, parameters / 3, std::int64_t{101}}) {
      SCOPED_TRACE(portion);
      expect_same_bits(
          testing::train(with_offload(options, portion), steps, true, testing::open_lazily),
          expected);
    }
  }
}

TEST(OffloadMemory, IsAFixedBufferOnTheDeviceAndTheRestOnTheHost) {
  const TrainingOptions plain = small_options(small_llama(), "dp=2 zero=1", "bf16");
  run_threads(2, [&](World& world) {
    Trainer without(world, plain, testing::learnable_tokens(1, 16, 50));
    Trainer with(world, with_offload(plain), testing::learnable_tokens(1, 16, 50));
    const Bytes states = without.memory().held()[MemoryCategory::optimizer];
    EXPECT_EQ(without.host_memory().held().total(), 0);
    EXPECT_EQ(with.host_memory().held().total(), states);
    EXPECT_EQ(with.memory().held()[MemoryCategory::optimizer],
              3 * small_portion * 3 * bytes_of(DType::fp32));  // 3 places, 3 states

    StepReport report;
    for (int step = 0; step < 3; ++step) report = with.run_step();  // the workspace settles
    const std::int64_t device = with.memory().allocations(),
                       host = with.host_memory().allocations();
    report = with.run_step();
    EXPECT_EQ(with.memory().allocations(), device);
    EXPECT_EQ(with.host_memory().allocations(), host);
    EXPECT_EQ(report.offloaded_memory, states);
  });
}

/// What the states need is not part of the budget.
TEST(OffloadMemory, FitsWhereTheStatesWouldNot) {
  TrainingOptions options = small_options(small_llama(), "tp=1", "bf16");
  run_threads(1, [&](World& world) {
    Trainer trainer(world, with_offload(options), testing::learnable_tokens(1, 16, 50));
    for (int step = 0; step < 3; ++step) trainer.run_step();
    options.device_memory = trainer.memory().peak_total();
  });
  EXPECT_EQ(testing::train(with_offload(options), steps).losses.size(),
            static_cast<std::size_t>(steps));
  EXPECT_THROW(testing::train(options, steps), OutOfMemory);
}

/// A step whose loss is no number ends before its update: what was fetched for it is given up.
TEST(OffloadFailure, LeavesNoCopyUnderWay) {
  TrainingOptions options = small_options(small_llama(), "tp=1");
  options.learning_rate.peak = 1e30;
  EXPECT_THROW(testing::train(with_offload(options), 10, false, testing::open_lazily),
               std::runtime_error);
}

TEST(OffloadBetweenSteps, StatesAreReadAndSetAsWithout) {
  for (const auto& [layout, precision] :
       {std::pair("tp=1", "fp32"), std::pair("dp=2 zero=1", "bf16"),
        std::pair("dp=2 zero=3", "fp32"), std::pair("pp=2 dp=2 zero=2", "bf16")}) {
    SCOPED_TRACE(layout);
    const TrainingOptions plain = small_options(small_gpt(), layout, precision);
    const auto expected = testing::read_and_set_between_steps(plain);
    EXPECT_TRUE(testing::read_and_set_between_steps(with_offload(plain)) == expected);
    EXPECT_TRUE(testing::read_and_set_between_steps(with_offload(plain), testing::open_lazily) ==
                expected);
  }
}

class OffloadState : public InFolder {};

TEST_F(OffloadState, ResumesBitForBitWithAndWithout) {
  for (const char* precision : {"fp32", "bf16"}) {
    const TrainingOptions plain = small_options(small_llama(), "dp=2 zero=1", precision);
    const TrainingOptions moved = with_offload(plain);
    const testing::Outcome whole = testing::follow(plain, {.end = 4});
    for (const auto& [before, after] : {std::pair(plain, moved), std::pair(moved, plain),
                                        std::pair(moved, with_offload(plain, 100))}) {
      const auto folder = folder_ / fmt::format("{}-{}", precision, before.layout.offload.any()) /
                          std::to_string(after.offload_portion);
      testing::follow(before, {.end = 2, .save = folder});
      const testing::Outcome resumed = testing::follow(after, {.resume = folder, .end = 4});
      EXPECT_EQ(resumed.losses, std::vector(whole.losses.begin() + 2, whole.losses.end()));
      EXPECT_EQ(resumed.states, whole.states);
    }
  }
}

TEST_F(OffloadState, ResumesInAnotherLayout) {
  const TrainingOptions before =
      with_offload(small_options(small_llama(), "tp=2 pp=2 dp=1", "fp32"));
  const TrainingOptions after = with_offload(small_options(small_llama(), "dp=4 zero=3", "fp32"));
  const testing::Outcome whole = testing::follow(before, {.end = 4});
  testing::follow(before, {.end = 2, .save = folder_ / "states"});
  const testing::Outcome resumed = testing::follow(after, {.resume = folder_ / "states", .end = 4});
  ASSERT_EQ(resumed.losses.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(resumed.losses[i], whole.losses[2 + i], 1e-5 * whole.losses[2 + i]);
  }
}

}  // namespace
}  // namespace kumihimo
