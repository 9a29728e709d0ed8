#include "calibrate/fit.hpp"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <stdexcept>
#include <string>
#include <utility>

#include "support/round_machine.hpp"

namespace kumihimo {
namespace {

/// A stack in the middle of every bound: nothing here is what a test fits.
StackProfile usual() {
  StackProfile profile = testing::ideal_profile();
  for (double StackProfile::*rate :
       {&StackProfile::matmul_fp32, &StackProfile::matmul_16bit, &StackProfile::matmul_fp8,
        &StackProfile::attention_unfused, &StackProfile::attention_fused_softmax,
        &StackProfile::attention_flash1, &StackProfile::attention_flash2,
        &StackProfile::attention_flash3, &StackProfile::norm_unfused, &StackProfile::norm_fused,
        &StackProfile::elementwise, &StackProfile::loss, &StackProfile::optimizer,
        &StackProfile::intra_node, &StackProfile::inter_node, &StackProfile::point_to_point,
        &StackProfile::host_link}) {
    profile.*rate = 0.6;
  }
  profile.matmul_traffic = 0.2;
  profile.inter_node_scaling = 0.05;
  profile.kernel_s = profile.launch_s = profile.collective_launch_s = 1e-6;
  profile.collective_s = 1e-5;
  profile.hop_s = profile.busy_hop_s = profile.node_hop_s = 1e-6;
  profile.congested_bandwidth = 0.9;
  profile.congested_message_s = 1e-4;
  profile.attention_half_keys = 200;
  profile.micro_batch_s = 1e-4;
  profile.step_s = 1e-3;
  profile.data_parallel_overlap = profile.tensor_parallel_overlap = 0.5;
  profile.tensor_backward_overlap = profile.point_to_point_overlap = 0.5;
  profile.context_gib = 1;
  profile.buffer_layers = 1;
  profile.allocator_overhead = 0.03;
  profile.memory_residual = 0.03;
  return profile;
}

/// Sixteen runs of two models over 1 to 8 devices of one node, not yet timed.
std::vector<PredictableRun> runs_of_one_node(const FrameworkDefaults& defaults) {
  std::vector<MeasuredRun> measured;
  for (const std::int64_t hidden : {1536, 2048}) {
    for (const int tensor_parallel : {1, 2}) {
      for (const int data_parallel : {1, 4}) {
        for (const int micro_batch : {1, 2}) {
          MeasuredRun run;
          run.id = std::to_string(measured.size());
          run.gpu_type = "A100-80GB";
          run.gpus = tensor_parallel * data_parallel;
          run.gpus_per_node = 8;
          run.job.model = {.name = "made up",
                           .layers = 24,
                           .hidden = hidden,
                           .heads = 16,
                           .kv_heads = 16,
                           .head_dim = hidden / 16,
                           .ffn_hidden = 5632,
                           .vocab = 32000};
          run.job.seq_length = 2048;
          run.job.global_batch_size = 32;
          run.layout.tensor_parallel = tensor_parallel;
          run.layout.data_parallel = data_parallel;
          run.layout.micro_batch_size = micro_batch;
          measured.push_back(run);
        }
      }
    }
  }
  std::vector<PredictableRun> runs = prepare_runs(std::move(measured), defaults);
  for (const PredictableRun& run : runs) EXPECT_EQ(run.reason, "");
  return runs;
}

std::vector<PredictableRun> timed_by(const StackProfile& truth) {
  std::vector<PredictableRun> runs = runs_of_one_node(truth.defaults);
  for (PredictableRun& run : runs) run.run.step_time_s = predict(run, truth).step_s;
  return runs;
}

const FittedParameter& parameter(const FitReport& report, std::string_view key) {
  const auto found = std::ranges::find(report.parameters, key, &FittedParameter::key);
  if (found == report.parameters.end()) throw std::out_of_range(std::string(key));
  return *found;
}

double worst_error(const std::vector<PredictableRun>& runs, const StackProfile& profile) {
  double worst = 0;
  for (const PredictableRun& run : runs) {
    worst = std::max(worst, std::abs(predict(run, profile).step_s / *run.run.step_time_s - 1));
  }
  return worst;
}

TEST(FitProfile, RecoversWhatItsRunsWereMadeWith) {
  StackProfile truth = usual();
  truth.matmul_16bit = 0.5;
  truth.attention_flash2 = 0.45;
  const std::vector<PredictableRun> runs = timed_by(truth);
  ASSERT_GT(worst_error(runs, usual()), 0.1);

  const FitReport report = fit_profile(runs, usual());
  EXPECT_EQ(report.time_runs, 16);
  ASSERT_TRUE(report.profile.range);
  EXPECT_EQ(report.profile.range->seq_length, (Interval{2048, 2048}));
  EXPECT_EQ(report.profile.range->device_names,
            std::vector<std::string>{runs.front().cluster.device.name});
  EXPECT_LT(worst_error(runs, report.profile), 0.02);
  EXPECT_LT(report.profile.time_residual, 0.02);
  for (const auto& [key, value] : {std::pair{"rates.matmul_16bit", truth.matmul_16bit},
                                   std::pair{"rates.attention_flash2", truth.attention_flash2}}) {
    const FittedParameter& fitted = parameter(report, key);
    EXPECT_EQ(fitted.base, 0.6);
    EXPECT_LE(std::abs(std::log(fitted.value / value)), 2 * fitted.log_spread) << key;
  }
  EXPECT_EQ(parameter(report, "rates.matmul_16bit").identification, Identification::fitted);
}

TEST(FitProfile, RunsOfItsOwnBaseMoveNothing) {
  const FitReport report = fit_profile(timed_by(usual()), usual());
  for (const FittedParameter& fitted : report.parameters) {
    EXPECT_NEAR(fitted.value / fitted.base, 1, 1e-3) << fitted.key;
  }
}

TEST(FitProfile, LeavesAloneWhatTheRunsSayNothingAbout) {
  StackProfile truth = usual();
  truth.matmul_16bit = 0.5;
  const StackProfile base = usual();
  const FitReport report = fit_profile(timed_by(truth), base);
  // One node, 16 bit, FlashAttention 2, the fused norm, no pipeline, no recomputation, no host.
  for (const char* key : {"rates.matmul_fp32", "rates.matmul_fp8", "rates.attention_unfused",
                          "rates.attention_fused_softmax", "rates.attention_flash3",
                          "rates.norm_unfused", "rates.inter_node", "rates.inter_node_scaling",
                          "rates.point_to_point", "rates.host_link", "seconds.micro_batch",
                          "overlap.tensor_parallel", "overlap.point_to_point", "rates.recompute"}) {
    const FittedParameter& fitted = parameter(report, key);
    EXPECT_EQ(fitted.identification, Identification::unconstrained) << key;
    EXPECT_EQ(fitted.value, fitted.base) << key;
  }
  EXPECT_EQ(report.profile.inter_node, base.inter_node);
  EXPECT_EQ(report.profile.recompute_overhead, base.recompute_overhead);
}

TEST(FitProfile, AFlashAttentionThatNoRunUsedKeepsItsRatioToTheOther) {
  StackProfile base = usual();
  base.attention_flash1 = 0.59;
  StackProfile truth = base;
  truth.attention_flash2 = 0.2;
  const FitReport report = fit_profile(timed_by(truth), base);
  const FittedParameter& second = parameter(report, "rates.attention_flash2");
  const FittedParameter& first = parameter(report, "rates.attention_flash1");
  ASSERT_LT(second.value, base.attention_flash1);  // kept, version 1 would be the faster one
  EXPECT_EQ(first.identification, Identification::sibling);
  EXPECT_DOUBLE_EQ(first.value / second.value, 0.59 / 0.6);
  EXPECT_EQ(report.profile.attention_flash1, first.value);
  EXPECT_GT(first.log_spread, second.log_spread);

  std::vector<PredictableRun> both = timed_by(truth);
  for (std::size_t i = 0; i < both.size(); i += 2) {
    both[i].run.layout.attention = AttentionKernel::flash1;
    both[i].run.step_time_s = predict(both[i], truth).step_s;
  }
  const FitReport apart = fit_profile(both, base);
  EXPECT_NE(parameter(apart, "rates.attention_flash1").identification, Identification::sibling);
}

TEST(FitProfile, AnOutlierHardlyPulls) {
  StackProfile truth = usual();
  truth.matmul_16bit = 0.5;
  std::vector<PredictableRun> runs = timed_by(truth);
  const FitReport clean = fit_profile(runs, usual());
  *runs[3].run.step_time_s *= 3;
  const FitReport spoilt = fit_profile(runs, usual());

  *runs[3].run.step_time_s /= 3;
  EXPECT_LT(worst_error(runs, spoilt.profile), 0.03);  // a mean would move by 3^(1/16): 7 %
  EXPECT_NEAR(spoilt.profile.matmul_16bit / clean.profile.matmul_16bit, 1, 0.03);
  EXPECT_LT(spoilt.profile.time_residual, 0.03);
}

TEST(FitProfile, StaysWithinTheBoundsOfEveryParameter) {
  std::vector<PredictableRun> runs = timed_by(usual());
  for (PredictableRun& run : runs) *run.run.step_time_s /= 100;  // beyond any machine
  const FitReport report = fit_profile(runs, usual());
  for (const ProfileParameter& parameter : profile_parameters()) {
    const double value = report.profile.*parameter.member;
    EXPECT_TRUE(std::isfinite(value)) << parameter.key;
    if (value == usual().*parameter.member) continue;  // kept, whatever it was
    EXPECT_GE(value, parameter.lower * (1 - 1e-9)) << parameter.key;
    EXPECT_LE(value, parameter.upper * (1 + 1e-9)) << parameter.key;
  }
}

TEST(FitProfile, MeasuredMemoryFitsTheMemoryConstantsAlone) {
  StackProfile truth = usual();
  truth.context_gib = 3;
  std::vector<PredictableRun> runs = runs_of_one_node(truth.defaults);
  for (PredictableRun& run : runs) {
    run.run.memory_gb = predict(run, truth).peak_memory_bytes / GiB;
  }
  const FitReport report = fit_profile(runs, usual());
  EXPECT_EQ(report.time_runs, 0);
  EXPECT_EQ(report.memory_runs, 16);
  for (const PredictableRun& run : runs) {
    EXPECT_NEAR(predict(run, report.profile).peak_memory_bytes / GiB / *run.run.memory_gb, 1, 0.03);
  }
  EXPECT_GT(report.profile.context_gib, usual().context_gib);
  EXPECT_EQ(report.profile.matmul_16bit, usual().matmul_16bit);
}

TEST(FitProfile, RunsThatDidNotFitRaiseThePredictedMemory) {
  StackProfile base = usual();
  base.memory_residual = 0.1;
  std::vector<PredictableRun> runs = runs_of_one_node(base.defaults);
  for (PredictableRun& run : runs) {
    const double peak = predict(run, base).peak_memory_bytes;
    run.cluster.device.memory = static_cast<Bytes>(1.1 * peak);  // by the base, it would have fit
    run.run.status = RunStatus::out_of_memory;
  }
  const FitReport report = fit_profile(runs, base);
  for (const PredictableRun& run : runs) {
    EXPECT_GT(predict(run, report.profile).peak_memory_bytes, predict(run, base).peak_memory_bytes);
  }
}

TEST(FitProfile, WithoutRunsTheBaseStays) {
  const StackProfile base = usual();
  const FitReport report = fit_profile({}, base);
  EXPECT_EQ(report.profile, base);
  EXPECT_EQ(report.time_runs, 0);
  EXPECT_EQ(report.memory_runs, 0);
  for (const FittedParameter& fitted : report.parameters) {
    EXPECT_EQ(fitted.identification, Identification::unconstrained) << fitted.key;
    EXPECT_EQ(fitted.value, fitted.base) << fitted.key;
  }
}

TEST(FitProfile, UnusableRunsTakeNoPart) {
  std::vector<PredictableRun> runs = timed_by(usual());
  for (PredictableRun& run : runs) run.reason = "no cluster";
  const FitReport report = fit_profile(runs, usual());
  EXPECT_EQ(report.time_runs, 0);
  EXPECT_EQ(report.profile, usual());
}

}  // namespace
}  // namespace kumihimo
