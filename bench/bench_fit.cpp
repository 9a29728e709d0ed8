// Question: how much sooner does a fit have the derivatives of a step's time by one critical path
// than by simulating the step on either side of every parameter?

#include <benchmark/benchmark.h>
#include <ceres/cost_function.h>
#include <cmath>

#include "calibrate/residuals.hpp"

namespace kumihimo {
namespace {

constexpr double noise = 0.02;

/// A step of Megatron's 530B on 280 devices: 35 stages, or three times as many chunks.
PredictableRun large_run(int chunks) {
  MeasuredRun run;
  run.gpu_type = "A100-80GB";
  run.gpus = 280;
  run.gpus_per_node = 8;
  run.job.model = {.name = "530B",
                   .layers = 105,
                   .hidden = 20480,
                   .heads = 128,
                   .kv_heads = 128,
                   .head_dim = 160,
                   .ffn_hidden = 81920,
                   .vocab = 51200,
                   .activation = Activation::gelu};
  run.job.seq_length = 2048;
  run.job.global_batch_size = 280;
  run.layout.tensor_parallel = 8;
  run.layout.pipeline_parallel = 35;
  run.layout.virtual_stages_per_rank = chunks;
  if (chunks > 1) run.layout.schedule = ScheduleKind::interleaved;
  run.step_time_s = 40;
  return std::move(prepare_runs({run}, FrameworkDefaults{}).front());
}

struct Logs {
  StackProfile base;
  std::vector<double> values;

  Logs() {
    for (const ProfileParameter& parameter : profile_parameters()) {
      values.push_back(std::log(base.*parameter.member));
    }
  }
};

void along_the_critical_path(benchmark::State& state) {
  const PredictableRun run = large_run(static_cast<int>(state.range(0)));
  const Logs logs;
  const auto residual = step_time_residual(run, {logs.base, profile_parameters()}, noise);
  std::vector<double> derivatives(logs.values.size());
  const double* const at[] = {logs.values.data()};
  double* into[] = {derivatives.data()};
  double value = 0;
  for (auto _ : state) {
    if (!residual->Evaluate(at, &value, into)) state.SkipWithError("not predictable");
  }
}

void by_simulating_either_side(benchmark::State& state) {
  const PredictableRun run = large_run(static_cast<int>(state.range(0)));
  Logs logs;
  const auto residual = step_time_residual(run, {logs.base, profile_parameters()}, noise);
  const double* const at[] = {logs.values.data()};
  double above = 0, below = 0;
  for (auto _ : state) {
    for (double& log : logs.values) {
      const double middle = log;
      log = middle + 1e-5;
      residual->Evaluate(at, &above, nullptr);
      log = middle - 1e-5;
      residual->Evaluate(at, &below, nullptr);
      log = middle;
      benchmark::DoNotOptimize(above - below);
    }
  }
}

BENCHMARK(along_the_critical_path)
    ->ArgName("chunks")
    ->Arg(1)
    ->Arg(3)
    ->Unit(benchmark::kMillisecond);
BENCHMARK(by_simulating_either_side)
    ->ArgName("chunks")
    ->Arg(1)
    ->Arg(3)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace kumihimo
