// The engine on a GPU that is slow to do what it is asked (support/lazy_gpu.hpp): ranks that share
// it, streams beside it and memory given back too early would show.

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

constexpr std::int64_t steps = 3;  // the workspace settles after two

class SharedGpu : public ::testing::TestWithParam<const char*> {};

/// The same bits as ranks that compute in the host's memory: the sums are in the same order.
TEST_P(SharedGpu, TrainsToTheBitsOfTheHost) {
  for (const TransformerShape& model : {small_llama(), small_gpt()}) {
    const TrainingOptions options = small_options(model, GetParam());
    const RunResult host = testing::train(options, steps, true);
    const RunResult gpu = testing::train(options, steps, true, testing::open_lazily);
    EXPECT_EQ(gpu.losses, host.losses);
    EXPECT_EQ(gpu.gradient_norms, host.gradient_norms);
    EXPECT_TRUE(gpu.weights == host.weights);
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, SharedGpu,
                         ::testing::Values("tp=1", "tp=2", "tp=2 sp=true", "pp=2",
                                           "pp=2 schedule=interleaved vpp=2", "pp=2 schedule=zb-h1",
                                           "dp=2 zero=0", "dp=2 zero=1", "dp=2 zero=2",
                                           "dp=2 zero=3", "dp=4 zero=3 recompute=full",
                                           "tp=2 pp=2 dp=2 zero=1 sp=true"));

TEST(SharedGpuFp8, TrainsToTheBitsOfTheHost) {
  const TrainingOptions options = small_options(small_llama(), "tp=2 dp=2 zero=2", "fp8");
  const RunResult host = testing::train(options, steps);
  EXPECT_EQ(testing::train(options, steps, false, testing::open_lazily).losses, host.losses);
}

/// The steps' times are read off the queue's points.
TEST(SharedGpuTimes, AddUpToTheStep) {
  const TrainingOptions options = small_options(small_llama(), "dp=2 zero=2");
  testing::with_trainers(options, testing::open_lazily, [](Trainer& trainer, const World&) {
    for (int step = 0; step < 2; ++step) {
      const StepReport report = trainer.run_step();
      for (const StepTimes& times : report.rank_times) {
        double together = 0;
        for (const double seconds : times.seconds) {
          EXPECT_GE(seconds, 0);
          together += seconds;
        }
        EXPECT_GT(times[Activity::matmul], 0);
        EXPECT_GT(together, 0);
        EXPECT_LE(together, report.step_time_s);
      }
    }
  });
}

}  // namespace
}  // namespace kumihimo
