#include <gtest/gtest.h>

#include "cli/step_figures.hpp"
#include "model/parameters.hpp"

namespace kumihimo {
namespace {

TrainingOptions small_job() {
  TrainingOptions options;
  options.job.model.layers = 2;
  options.job.model.hidden = 8;
  options.job.model.heads = 2;
  options.job.model.kv_heads = 2;
  options.job.model.head_dim = 4;
  options.job.model.ffn_hidden = 16;
  options.job.model.vocab = 32;
  options.job.seq_length = 10;
  options.job.global_batch_size = 3;
  return options;
}

StepReport step(std::int64_t number, double step_time_s) {
  StepReport report;
  report.step = number;
  report.step_time_s = step_time_s;
  report.mean_times[Activity::matmul] = step_time_s / 2;
  return report;
}

TEST(StepWork, CountsModelAndRecomputedFlops) {
  TrainingOptions options = small_job();
  // A layer: 8 x 24 + 8 x 8 in attention, 3 x 8 x 16 in the MLP, two norms of 8.
  const double layer = 192 + 64 + 384 + 16;
  const double parameters = 2 * layer + 2 * 32 * 8 + 8;
  const double tokens = 3 * 10;
  StepWork work = work_of_step(options);
  EXPECT_EQ(work.tokens, tokens);
  EXPECT_EQ(work.model_flops, tokens * (6 * parameters + 12 * 2 * 8 * 10));
  EXPECT_EQ(work.model_flops_causal, tokens * (6 * parameters + 6 * 2 * 8 * 10));
  EXPECT_EQ(work.executed_flops, work.model_flops);

  options.layout.recompute = Recompute::selective;
  work = work_of_step(options);
  EXPECT_EQ(work.executed_flops - work.model_flops, tokens * 4 * 2 * 8 * 10);
  options.layout.recompute = Recompute::full;
  work = work_of_step(options);
  EXPECT_EQ(work.executed_flops - work.model_flops, tokens * (2 * 2 * layer + 4 * 2 * 8 * 10));
}

TEST(StepFigures, AreSharesOfThePeak) {
  const StepFigures figures = figures_of({100, 4e9, 3e9, 5e9}, 2, 1e10);
  EXPECT_EQ(figures.tokens_per_s, 100 / 2.0);
  EXPECT_EQ(figures.mfu, 4e9 / (2 * 1e10));
  EXPECT_EQ(figures.mfu_causal, 3e9 / (2 * 1e10));
  EXPECT_EQ(figures.hfu, 5e9 / (2 * 1e10));
}

TEST(StepStatistics, LeaveTheFirstStepsOutOfTheTimes) {
  StepStatistics statistics(2);
  for (const double seconds : {9.0, 8.0, 1.0, 2.0, 4.0}) {
    statistics.add(step(statistics.steps(), seconds));
  }
  EXPECT_EQ(statistics.steps(), 5);
  EXPECT_EQ(statistics.timed_steps(), 5 - 2);
  EXPECT_EQ(statistics.median_step_time_s(), 2);
  EXPECT_EQ(statistics.step_time_quantile_s(0.25), (1 + 2) / 2.0);
  EXPECT_EQ(statistics.step_time_quantile_s(0.75), (2 + 4) / 2.0);
  EXPECT_DOUBLE_EQ(statistics.mean_times()[Activity::matmul], (1 + 2 + 4) / 2.0 / 3);
  EXPECT_EQ(statistics.first().step, 0);
  EXPECT_EQ(statistics.last().step, 4);
}

}  // namespace
}  // namespace kumihimo
