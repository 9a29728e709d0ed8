#include "runs/notes.hpp"

#include <gtest/gtest.h>

#include "run_text.hpp"

namespace kumihimo {
namespace {

TEST(Notes, IgnoresTextThatFollowsNoPattern) {
  const NoteFacts facts =
      read_notes("a loraine; we discuss sft later; schedule was changed on Monday; compiled; 16GB");
  EXPECT_EQ(facts.skip_reason, "");
  EXPECT_EQ(facts.suspect, "");
  EXPECT_FALSE(facts.schedule || facts.norm || facts.zero_stage || facts.sequence_parallel);
  EXPECT_EQ(facts.network_bandwidth, 0);
}

TEST(Notes, ReadsSchedules) {
  EXPECT_EQ(read_notes("x; schedule 1F1B; y").schedule, ScheduleKind::one_forward_one_backward);
  EXPECT_EQ(read_notes("schedule 1F1B-I").schedule, ScheduleKind::interleaved);
  EXPECT_EQ(read_notes("schedule ZB-1p").schedule, ScheduleKind::zb_h1);
  EXPECT_EQ(read_notes("tp_mode ALL_REDUCE, pp_engine afab").schedule, ScheduleKind::gpipe);
  EXPECT_EQ(read_notes("schedule ZB-2p*").skip_reason,
            "schedule ZB-2p* is not one that is modelled");
  EXPECT_EQ(read_notes("schedule ZB-V").skip_reason, "schedule ZB-V is not one that is modelled");
}

TEST(Notes, SplitsLayersAroundEmbeddingAndHead) {
  // 22 layers and 2 for the ends over 2 x 2 = 4 stages: 6 each.
  const Cells changes{
      {"layers", "22"}, {"vpp", "2"}, {"notes", "first/last stage have one layer less"}};
  EXPECT_EQ(run_with(changes).layout.layer_split, (std::vector<int>{5, 6, 6, 5}));
  // 24 + 2 do not divide over 4.
  const MeasuredRun uneven =
      run_with({{"vpp", "2"}, {"notes", "first/last stage have one layer less"}});
  EXPECT_TRUE(uneven.layout.layer_split.empty());
  EXPECT_EQ(uneven.assumptions,
            (std::vector<std::string>{"layers split evenly: 24 + 2 do not divide over 4 stages"}));
}

TEST(Notes, ReadsOneLayerPerChunk) {
  const MeasuredRun run =
      run_with({{"layers", "4"},
                {"vpp", "max (1 layer per chunk)"},
                {"notes", "schedule 1F1B-I; first/last stage have one layer less"}});
  EXPECT_EQ(run.layout.schedule, ScheduleKind::interleaved);
  EXPECT_EQ(run.layout.virtual_stages_per_rank, (4 + 2) / 2);
  EXPECT_EQ(run.layout.layer_split, (std::vector<int>{0, 1, 1, 1, 1, 0}));
  EXPECT_EQ(run_with({{"layers", "5"}, {"vpp", "max"}}).skip_reason,
            "vpp of one layer per chunk: 5 layers do not divide over pp 2");
}

TEST(Notes, NeedsVirtualStagesToInterleave) {
  EXPECT_EQ(run_with({{"notes", "schedule 1F1B-I"}}).skip_reason,
            "interleaved schedule, but the virtual stages are not stated");
}

TEST(Notes, ReadsTensorParallelModes) {
  const MeasuredRun run =
      run_with({{"seq_parallel", ""}, {"notes", "tp_mode REDUCE_SCATTER async, pp_engine 1f1b"}});
  EXPECT_TRUE(run.stated.sequence_parallel);
  EXPECT_TRUE(run.layout.sequence_parallel);
  EXPECT_TRUE(run.layout.overlap_tensor_parallel);
  EXPECT_FALSE(read_notes("tp_mode REDUCE_SCATTER").overlap_tensor_parallel.value());
  EXPECT_TRUE(read_notes("async TP").overlap_tensor_parallel.value());
  EXPECT_FALSE(read_notes("vanilla TP").overlap_tensor_parallel.value());
  // The column wins over the notes.
  EXPECT_FALSE(run_with({{"notes", "tp_mode REDUCE_SCATTER"}}).layout.sequence_parallel);
}

TEST(Notes, ReadsGradientReduction) {
  EXPECT_FALSE(read_notes("DDP=local from a script").overlap_data_parallel.value());
  EXPECT_TRUE(read_notes("this, DDP=torch from a script").overlap_data_parallel.value());
  EXPECT_EQ(read_notes("MP mode PURE").gradient_dtype, Precision::bf16);
  EXPECT_EQ(read_notes("MP mode DEFAULT").gradient_dtype, Precision::fp32);
}

TEST(Notes, ReadsWhetherTorchtitanCompiled) {
  EXPECT_EQ(read_notes("FSDP").norm, NormKernel::unfused);
  EXPECT_EQ(read_notes("FSDP + torch.compile + Float8").norm, NormKernel::fused);
  EXPECT_EQ(read_notes("FSDP+CP+compile").norm, NormKernel::fused);
  EXPECT_EQ(read_notes("vanilla TP; compile").norm, NormKernel::fused);
  EXPECT_FALSE(read_notes("FSDP FULL_SHARD").norm);
  EXPECT_FALSE(read_notes("FSDP column=0 (>0 means so)").norm);
  EXPECT_FALSE(read_notes("FSDP + magic").norm);
}

TEST(Notes, ReadsTheCommandLineOfLlmq) {
  const NoteFacts plain = read_notes("flags: --matmul-dtype=bf16 --batch-size=4");
  EXPECT_EQ(plain.zero_stage, 1);
  EXPECT_FALSE(plain.offload.any());
  EXPECT_EQ(read_notes("flags: --shard-gradients").zero_stage, 2);
  EXPECT_EQ(read_notes("flags: --shard--gradients").zero_stage, 2);
  EXPECT_EQ(read_notes("flags: --shard-weights --shard-gradients").zero_stage, 3);
  const NoteFacts moved = read_notes(
      "flags: --offload-opt-m --offload-opt-v --offload-master --offload-residual "
      "--recompute-block");
  EXPECT_EQ(moved.offload, (Offload{.optimizer = true, .activations = true}));
  EXPECT_TRUE(moved.assumptions.empty());
  EXPECT_EQ(read_notes("flags: --offload-opt-m").assumptions.size(), 1u);
  EXPECT_TRUE(read_notes("flags: --offload-quants").offload.weights);
}

TEST(Notes, WithoutRecomputeTheResidualIsLittleOfWhatLlmqKeeps) {
  const NoteFacts facts = read_notes("flags: --offload-residual --recompute-norm");
  EXPECT_FALSE(facts.offload.any());
  EXPECT_EQ(facts.assumptions.front(),
            "--offload-residual without --recompute-block: read as no offload");
}

TEST(Notes, ReadsTheRateThatWasPrinted) {
  EXPECT_EQ(read_notes("last printed step 5; printed tps 46920").printed_tokens_per_s, 46920);
  EXPECT_EQ(read_notes("printed tps 159k").printed_tokens_per_s, 159e3);
  for (const std::string_view none : {"printed tps", "printed tps -3", "printed tps 3 of 4"}) {
    EXPECT_FALSE(read_notes(none).printed_tokens_per_s) << none;
  }
}

TEST(Notes, ColumnsWinOverTheCommandLine) {
  EXPECT_EQ(run_with({{"notes", "flags: --shard-weights"}}).layout.zero_stage, 1);
  const MeasuredRun run = run_with({{"zero_stage", ""}, {"notes", "flags: --shard-weights"}});
  EXPECT_EQ(run.layout.zero_stage, 3);
  EXPECT_TRUE(run.stated.zero_stage);
}

TEST(Notes, ReadsOffloading) {
  EXPECT_TRUE(read_notes("CPU offload of activations True").offload.activations);
  EXPECT_FALSE(read_notes("CPU offload of activations FALSE").offload.any());
  EXPECT_EQ(read_notes("full CPU offload").offload, (Offload{.optimizer = true, .weights = true}));
}

TEST(Notes, CountsMicroBatchesWhereTheBatchIsBlank) {
  const MeasuredRun run = run_with({{"global_batch", ""}, {"notes", "micro_num=8"}});
  EXPECT_EQ(run.job.global_batch_size, 2 * 8 * 4);  // micro_batch x micro-batches x dp
  EXPECT_EQ(run.skip_reason, "");
  EXPECT_EQ(read_notes("grad_acc 16").num_micro_batches, 16);
  EXPECT_EQ(read_notes("grad_accum 4").num_micro_batches, 4);
  EXPECT_EQ(read_notes("fix_hp: LBS=3 GAS=64").num_micro_batches, 64);
  EXPECT_FALSE(read_notes("grad_acc 0").num_micro_batches);
  EXPECT_FALSE(read_notes("grad_acc 99999999999999999999").num_micro_batches);
  // A stated batch is not touched.
  EXPECT_EQ(run_with({{"notes", "micro_num=8"}}).job.global_batch_size, 32);
}

TEST(Notes, SkipsWhatIsNoPretrainingStep) {
  EXPECT_EQ(read_notes("a page; lora").skip_reason, "lora: fine-tuning, not pre-training");
  EXPECT_EQ(read_notes("sft").skip_reason, "sft: fine-tuning, not pre-training");
  EXPECT_EQ(read_notes("ONE transformer layer: forward 7 ms").skip_reason,
            "one transformer layer, not a training step");
}

TEST(Notes, KeepsDoubtfulRowsButSaysSo) {
  const MeasuredRun run = run_with({{"notes", "INCONSISTENT ROW: two batches; grad_acc 4"}});
  EXPECT_EQ(run.suspect, "INCONSISTENT ROW: two batches");
  EXPECT_EQ(run.skip_reason, "");
  EXPECT_EQ(read_notes("NOISY: +/-40%").suspect, "NOISY: +/-40%");
}

TEST(Notes, ReadsTheNetwork) {
  // 4 x 100 Gbit/s for 8 devices: 50 GB/s / 8.
  EXPECT_DOUBLE_EQ(run_with({{"notes", "4x100Gb RoCE per node"}}).inter_node_bandwidth.value(),
                   50e9 / 8);
  EXPECT_DOUBLE_EQ(read_notes("Somewhere, 8x200Gb HDR IB per node").network_bandwidth, 200e9);
  EXPECT_DOUBLE_EQ(read_notes("8 GPUs/node and 800 Gbit/s per node").network_bandwidth, 100e9);
  EXPECT_DOUBLE_EQ(read_notes("100 Gb/s InfiniBand").network_bandwidth, 12.5e9);
  EXPECT_DOUBLE_EQ(run_with({{"notes", "CX-7 400Gb/GPU"}}).inter_node_bandwidth.value(), 50e9);
  EXPECT_FALSE(
      run_with({{"notes", "4x100Gb RoCE per node"}, {"gpus_per_node", ""}}).inter_node_bandwidth);
  for (const char* odd : {"Gb per node", "xGb per node", " x Gb per node", "99999999Gb per node"})
    EXPECT_EQ(read_notes(odd).network_bandwidth, 0) << odd;
}

TEST(Notes, SurvivesOddPunctuation) {
  for (const char* odd : {"", ";", ";;;", " ; ", "schedule ", "schedule", "flags:", "FSDP+",
                          "FSDP++", "FSDP + ", "grad_acc ", "gas="})
    EXPECT_EQ(read_notes(odd).suspect, "") << odd;
}

}  // namespace
}  // namespace kumihimo
