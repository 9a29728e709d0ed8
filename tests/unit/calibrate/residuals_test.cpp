#include "calibrate/residuals.hpp"

#include <ceres/cost_function.h>
#include <cmath>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "layout/layout_text.hpp"

namespace kumihimo {
namespace {

/// A run of a pipeline over nodes, whose stages differ: the last one has the head.
PredictableRun pipelined_run(const char* layout, const FrameworkDefaults& defaults) {
  MeasuredRun run;
  run.gpu_type = "A100-80GB";
  run.gpus = 32;
  run.gpus_per_node = 8;
  run.job.model = {.name = "made up",
                   .layers = 24,
                   .hidden = 2048,
                   .heads = 16,
                   .kv_heads = 16,
                   .head_dim = 128,
                   .ffn_hidden = 5632,
                   .vocab = 128000};
  run.job.seq_length = 2048;
  run.job.global_batch_size = 64;
  run.layout = *parse_layout(layout);
  run.step_time_s = 10;
  run.memory_gb = 40;
  PredictableRun prepared = std::move(prepare_runs({run}, defaults).front());
  EXPECT_EQ(prepared.reason, "");
  return prepared;
}

double residual_at(const ceres::CostFunction& cost, const std::vector<double>& logs) {
  const double* const blocks[] = {logs.data()};
  double residual = 0;
  EXPECT_TRUE(cost.Evaluate(blocks, &residual, nullptr));
  return residual;
}

class StepTimeResidual : public ::testing::TestWithParam<const char*> {};

/// What the critical path gives is what simulating either side gives.
TEST_P(StepTimeResidual, HasTheDerivativesOfTheSimulation) {
  const StackProfile base;
  const PredictableRun run = pipelined_run(GetParam(), base.defaults);
  std::vector<double> logs;
  for (const ProfileParameter& parameter : profile_parameters()) {
    logs.push_back(std::log(base.*parameter.member));
  }
  const auto cost = step_time_residual(run, {base, profile_parameters()}, 0.02);
  std::vector<double> derivatives(logs.size());
  double* const jacobians[] = {derivatives.data()};
  const double* const blocks[] = {logs.data()};
  double residual = 0;
  ASSERT_TRUE(cost->Evaluate(blocks, &residual, const_cast<double**>(jacobians)));
  EXPECT_DOUBLE_EQ(residual, residual_at(*cost, logs));
  EXPECT_NEAR(residual, std::log(predict(run, base).step_s / 10) / 0.02, 1e-9);

  int moving = 0;
  for (std::size_t i = 0; i < logs.size(); ++i) {
    SCOPED_TRACE(profile_parameters()[i].key);
    constexpr double move = 1e-6;
    std::vector<double> above = logs, below = logs;
    above[i] += move;
    below[i] -= move;
    const double expected = (residual_at(*cost, above) - residual_at(*cost, below)) / (2 * move);
    EXPECT_NEAR(derivatives[i], expected, 1e-4 * std::abs(expected) + 1e-5);
    moving += std::abs(expected) > 0.01;
  }
  EXPECT_GT(moving, 8);
}

INSTANTIATE_TEST_SUITE_P(Layouts, StepTimeResidual,
                         ::testing::Values("tp=2 pp=4 dp=4", "tp=1 pp=8 dp=4 schedule=gpipe",
                                           "tp=1 pp=4 dp=8 vpp=3", "tp=4 pp=4 dp=2 schedule=zb-h1",
                                           "tp=8 dp=4 recompute=full", "dp=32 zero=3"),
                         [](const auto& test) { return "Layout" + std::to_string(test.index); });

TEST(MemoryResidual, IsOfThePeakThatIsPredicted) {
  const StackProfile base;
  const PredictableRun run = pipelined_run("tp=2 pp=4 dp=4", base.defaults);
  const auto parameters = profile_parameters().subspan(0, 1);
  const auto cost = memory_residual(run, {base, parameters}, 0.02);
  const double peak = predict(run, base).peak_memory_bytes;
  EXPECT_EQ(predict_peak_memory(run, base), peak);
  EXPECT_NEAR(residual_at(*cost, {std::log(base.*parameters[0].member)}),
              std::log(peak / (40 * GiB)) / 0.02, 1e-9);
}

}  // namespace
}  // namespace kumihimo
