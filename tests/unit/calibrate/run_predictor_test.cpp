#include "calibrate/run_predictor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/round_machine.hpp"

namespace kumihimo {
namespace {

using ::testing::HasSubstr;

MeasuredRun measured() {
  MeasuredRun run;
  run.gpu_type = "A100-80GB";
  run.gpus = 8;
  run.gpus_per_node = 4;
  run.job = testing::small_job();
  run.layout.pipeline_parallel = 4;
  run.layout.data_parallel = 2;
  return run;
}

PredictableRun prepared(MeasuredRun run,
                        const FrameworkDefaults& defaults = testing::ideal_profile().defaults) {
  std::vector<PredictableRun> runs = prepare_runs({std::move(run)}, defaults);
  EXPECT_EQ(runs.size(), 1u);
  return runs.front();
}

TEST(PrepareRuns, FindsTheMachineAndResizesIt) {
  const PredictableRun run = prepared(measured());
  EXPECT_TRUE(run.usable()) << run.reason;
  EXPECT_EQ(run.cluster.device.architecture, "ampere");
  EXPECT_EQ(run.cluster.devices_per_node, 4);
  EXPECT_EQ(run.cluster.nodes, 8 / 4);
}

TEST(PrepareRuns, TakesTheNetworkThatTheRunStates) {
  MeasuredRun run = measured();
  const Cluster catalogs = prepared(run).cluster;
  const double as_cataloged = predict(prepared(run), testing::ideal_profile()).step_s;
  run.inter_node_bandwidth = catalogs.inter_node.bandwidth / 100;
  const PredictableRun slow = prepared(run);
  EXPECT_EQ(slow.cluster.inter_node.bandwidth, catalogs.inter_node.bandwidth / 100);
  EXPECT_EQ(slow.cluster.nics_per_node * slow.cluster.nic_bandwidth,
            slow.cluster.devices_per_node * slow.cluster.inter_node.bandwidth);
  EXPECT_GT(predict(slow, testing::ideal_profile()).step_s, as_cataloged);
}

TEST(PrepareRuns, KeepsTheCatalogsNodeIfNoneIsStatedAndCountsABegunOne) {
  MeasuredRun run = measured();
  run.gpus_per_node = 0;
  run.gpus = 12;
  run.layout.pipeline_parallel = 4;
  run.layout.data_parallel = 3;
  run.job.global_batch_size = 9;
  const PredictableRun found = prepared(run);
  EXPECT_TRUE(found.usable()) << found.reason;
  EXPECT_EQ(found.cluster.devices_per_node, 8);
  EXPECT_EQ(found.cluster.nodes, 2);
}

TEST(PrepareRuns, MakesTheScheduleOfTheRunsMicroBatches) {
  const PredictableRun run = prepared(measured());
  EXPECT_EQ(run.schedule.pipeline_parallel, 4);
  EXPECT_EQ(run.schedule.num_micro_batches, 8 / (2 * 1));
}

TEST(PrepareRuns, AssumesOnlyWhatTheDeviceSupports) {
  FrameworkDefaults defaults = testing::ideal_profile().defaults;
  defaults.attention = AttentionKernel::flash2;
  defaults.precision = defaults.gradient_dtype = Precision::bf16;
  EXPECT_EQ(prepared(measured(), defaults).run.layout.attention, AttentionKernel::flash2);
  MeasuredRun run = measured();
  run.gpu_type = "V100-SXM2-32GB";
  const PredictableRun volta = prepared(run, defaults);
  EXPECT_TRUE(volta.usable()) << volta.reason;
  EXPECT_EQ(volta.run.layout.attention, AttentionKernel::flash1);
  EXPECT_EQ(volta.run.layout.precision, Precision::fp16);
  EXPECT_EQ(volta.run.layout.gradient_dtype, Precision::fp16);
  // What a row states itself stays, and is refused.
  run.stated.attention = true;
  run.layout.attention = AttentionKernel::flash2;
  EXPECT_FALSE(prepared(run, defaults).usable());
}

TEST(PrepareRuns, FillsWhatIsNotStatedFromTheStack) {
  FrameworkDefaults defaults = testing::ideal_profile().defaults;
  defaults.recompute = Recompute::full;
  EXPECT_EQ(prepared(measured(), defaults).run.layout.recompute, Recompute::full);
  MeasuredRun stated = measured();
  stated.stated.recompute = true;
  EXPECT_EQ(prepared(stated, defaults).run.layout.recompute, Recompute::none);
}

TEST(PrepareRuns, SplitsLayersAsTheStackDoesUnlessTheRunSays) {
  FrameworkDefaults defaults = testing::ideal_profile().defaults;
  defaults.layer_balance = LayerBalance::blocks;
  MeasuredRun run = measured();
  run.job.model.layers = 10;
  // Ten layers, the embedding and the head over four stages: three each.
  EXPECT_EQ(prepared(run, defaults).run.layout.layer_split, (std::vector<int>{2, 3, 3, 2}));
  run.layout.layer_split = {4, 2, 2, 2};
  EXPECT_EQ(prepared(run, defaults).run.layout.layer_split, (std::vector<int>{4, 2, 2, 2}));
}

TEST(PrepareRuns, KeepsWhatCannotBePredictedWithItsReason) {
  MeasuredRun unknown = measured();
  unknown.gpu_type = "Abacus";
  MeasuredRun incomplete = measured();
  incomplete.skip_reason = "hidden not stated";
  MeasuredRun impossible = measured();
  impossible.layout.micro_batch_size = 3;

  const auto runs = prepare_runs({unknown, incomplete, impossible, measured()},
                                 testing::ideal_profile().defaults);
  ASSERT_EQ(runs.size(), 4u);
  EXPECT_THAT(runs[0].reason, HasSubstr("Abacus"));
  EXPECT_EQ(runs[1].reason, "hidden not stated");
  EXPECT_FALSE(runs[2].reason.empty());
  EXPECT_TRUE(runs[3].usable()) << runs[3].reason;
}

TEST(PrepareRuns, NothingGivesNothing) {
  EXPECT_TRUE(prepare_runs({}, testing::ideal_profile().defaults).empty());
}

TEST(PredictRun, IsThePredictionOfItsLayout) {
  const PredictableRun run = prepared(measured());
  const StackProfile profile = testing::ideal_profile();
  const Prediction direct = predict(run.run.job, run.run.layout, run.cluster, profile);
  const Prediction kept = predict(run, profile);
  EXPECT_EQ(kept.step_s, direct.step_s);
  EXPECT_EQ(kept.peak_memory_bytes, direct.peak_memory_bytes);
}

}  // namespace
}  // namespace kumihimo
