#include "layout/validate.hpp"

#include <climits>
#include <gtest/gtest.h>
#include <random>

#include "example.hpp"

namespace kumihimo {
namespace {

/// A valid case on 64 devices, which each test bends in one place.
class Validate : public ::testing::Test {
 protected:
  Validate() {
    layout_.tensor_parallel = 2;
    layout_.pipeline_parallel = 4;
    layout_.data_parallel = 8;
  }

  /// Expects exactly one fault, and the short form to agree that there is one.
  Error only_fault() const {
    const Errors errors = faults(layout_, job_, cluster_, devices_);
    EXPECT_EQ(errors.size(), 1u) << to_string(errors);
    EXPECT_FALSE(is_valid(layout_, job_, cluster_, devices_));
    return errors.empty() ? Error{} : errors.front();
  }

  void expect_valid() const {
    const Errors errors = faults(layout_, job_, cluster_, devices_);
    EXPECT_TRUE(errors.empty()) << to_string(errors);
    EXPECT_TRUE(is_valid(layout_, job_, cluster_, devices_));
  }

  void interleave(int chunks) {
    layout_.schedule = ScheduleKind::interleaved;
    layout_.virtual_stages_per_rank = chunks;
  }

  TrainingJob job_ = testing::llama_13b();
  Cluster cluster_ = testing::a100_nodes();
  ParallelLayout layout_;
  std::int64_t devices_ = 64;
};

TEST_F(Validate, AcceptsOrdinaryLayouts) {
  expect_valid();
  for (const int zero_stage : {1, 2, 3}) {  // with a pipeline too
    layout_.zero_stage = zero_stage;
    expect_valid();
  }
  layout_.sequence_parallel = true;
  layout_.overlap_tensor_parallel = true;
  expect_valid();
  interleave(2);
  expect_valid();
}

TEST_F(Validate, AcceptsKnobsWithoutEffect) {
  layout_ = {};
  devices_ = 1;
  layout_.zero_stage = 3;
  layout_.overlap_tensor_parallel = true;
  layout_.schedule = ScheduleKind::zb_h1;
  expect_valid();
}

TEST_F(Validate, TheProductOfTheAxesIsTheNumberOfDevices) {
  layout_.data_parallel = 4;
  EXPECT_EQ(only_fault().where, "layout: devices");
  EXPECT_EQ(only_fault().what, "tp 2 x pp 4 x dp 4 x cp 1 is 32 devices, not 64");
  EXPECT_EQ(only_fault().fix, "set dp=8");
  layout_.pipeline_parallel = 5;
  EXPECT_EQ(only_fault().fix, "choose tp, pp and cp whose product divides 64");
}

TEST_F(Validate, DegreesArePositiveAndBounded) {
  int ParallelLayout::*const degrees[] = {
      &ParallelLayout::tensor_parallel,  &ParallelLayout::pipeline_parallel,
      &ParallelLayout::data_parallel,    &ParallelLayout::context_parallel,
      &ParallelLayout::micro_batch_size, &ParallelLayout::virtual_stages_per_rank};
  for (const auto degree : degrees) {
    for (const int value : {0, -1, INT_MIN, INT_MAX, max_degree + 1}) {
      ParallelLayout bent = layout_;
      bent.*degree = value;
      const Errors errors = faults(bent, job_, cluster_, devices_);
      ASSERT_EQ(errors.size(), 1u);
      EXPECT_EQ(errors[0].what, "is " + std::to_string(value));
      EXPECT_EQ(errors[0].fix, "give a whole number from 1 to 32768");
      EXPECT_FALSE(is_valid(bent, job_, cluster_, devices_));
    }
  }
}

TEST_F(Validate, ReportsEveryFaultAtOnce) {
  layout_.tensor_parallel =
      3;  // 96 devices; 40 % 3 heads, 40 % 3 key-value heads; 13824 = 3 * 4608
  layout_.zero_stage = 4;
  layout_.precision = Precision::fp8;
  const Errors errors = faults(layout_, job_, cluster_, devices_);
  std::vector<std::string> places;
  for (const Error& error : errors) places.push_back(error.where);
  EXPECT_EQ(places, (std::vector<std::string>{"layout: devices", "layout: tp", "layout: tp",
                                              "layout: zero", "layout: precision"}));
  EXPECT_EQ(first_fault(layout_, job_, cluster_, devices_),
            "tp x pp x dp x cp is not the number of devices");
}

TEST_F(Validate, TensorRanksShareHeadsEqually) {
  layout_.tensor_parallel = 16;
  layout_.data_parallel = 1;
  job_.model.ffn_hidden = 16 * 1024;
  job_.model.kv_heads = 8;  // 16 = 2 * 8: each key-value head is held twice
  EXPECT_EQ(only_fault().what, "16 does not divide the 40 attention heads");
  EXPECT_EQ(only_fault().fix, "use one of 1, 2, 4, 5, 8, 10, 20, 40");
  job_.model.heads = 48;
  expect_valid();
  job_.model.kv_heads = 12;  // neither 16 % 12 nor 12 % 16 is 0
  EXPECT_EQ(only_fault().what, "16 neither divides nor is a multiple of the 12 key-value heads");
}

TEST_F(Validate, TensorRanksShareTheMlpEqually) {
  job_.model.ffn_hidden = 13825;
  EXPECT_EQ(only_fault().what, "2 does not divide the MLP width 13825");
}

TEST_F(Validate, SequenceParallelNeedsTensorRanksAndADivisibleSequence) {
  layout_.sequence_parallel = true;
  job_.seq_length = 2047;
  job_.model.positions = Positions::rotary;
  EXPECT_EQ(only_fault().what, "needs a sequence that tp 2 x cp 1 = 2 divides, not 2047");
  job_.seq_length = 2048;
  layout_.tensor_parallel = 1;
  layout_.data_parallel = 16;
  EXPECT_EQ(only_fault().where, "layout: sp");
}

TEST_F(Validate, ContextParallelNeedsAPairOfSlicesForEachRank) {
  layout_.data_parallel = 4;
  layout_.context_parallel = 2;
  expect_valid();
  job_.seq_length = 2046;  // 2046 / 4 = 511.5
  EXPECT_EQ(only_fault().what, "2 needs 2 x 2 equal slices of the sequence, which is 2046 long");
  EXPECT_EQ(only_fault().fix, "use a sequence length that is a multiple of 4");
}

TEST_F(Validate, ContextParallelNeedsFlashAttention) {
  layout_.data_parallel = 4;
  layout_.context_parallel = 2;
  layout_.attention = AttentionKernel::fused_softmax;
  EXPECT_EQ(only_fault().where, "layout: cp");
}

TEST_F(Validate, SequenceParallelSplitsWhatContextParallelLeaves) {
  layout_.data_parallel = 4;
  layout_.context_parallel = 2;
  layout_.tensor_parallel = 8;
  layout_.pipeline_parallel = 1;
  layout_.sequence_parallel = true;
  expect_valid();
  job_.seq_length = 2044;  // = 4 * 511, but not a multiple of 8 * 2
  EXPECT_EQ(only_fault().where, "layout: sp");
}

TEST_F(Validate, MicroBatchesFillTheGlobalBatch) {
  layout_.micro_batch_size = 3;
  EXPECT_EQ(only_fault().what,
            "dp 8 x micro-batch 3 = 24 does not divide the global batch of 2048");
  job_.global_batch_size = 24;
  expect_valid();
}

TEST_F(Validate, VirtualStagesNeedInterleavingOfAPipeline) {
  layout_.virtual_stages_per_rank = 2;
  EXPECT_EQ(only_fault().fix, "set schedule=interleaved, or vpp=1");
  interleave(1);
  EXPECT_EQ(only_fault().fix, "set vpp=2, or schedule=1f1b");
  interleave(2);
  layout_.pipeline_parallel = 1;
  layout_.data_parallel = 32;
  EXPECT_EQ(only_fault().where, "layout: pp");
}

TEST_F(Validate, InterleavingRunsWholeGroupsOfMicroBatches) {
  interleave(2);
  job_.global_batch_size = 8 * 6;  // 6 micro-batches for each of 8 replicas; 6 % 4 != 0
  EXPECT_EQ(only_fault().where, "layout: schedule");
  job_.global_batch_size = 8 * 12;
  expect_valid();
}

TEST_F(Validate, EveryStageNeedsALayer) {
  job_.model.layers = 3;
  EXPECT_EQ(only_fault().what, "pp 4 x vpp 1 = 4 stages for 3 layers");
  job_.model.layers = 4;
  expect_valid();
  job_.model.layers = 15;
  interleave(4);  // 16 stages
  EXPECT_EQ(only_fault().fix, "keep pp x vpp at or below 15");
}

TEST_F(Validate, ALayerSplitNamesEveryStageAndEveryLayer) {
  layout_.layer_split = {9, 11, 11, 9};
  expect_valid();
  layout_.layer_split = {10, 10, 20};
  EXPECT_EQ(only_fault().what, "names 3 stages, but pp 4 x vpp 1 is 4");
  layout_.layer_split = {10, 10, 10, 9};
  EXPECT_EQ(only_fault().what, "add up to 39, but the model has 40");
  layout_.layer_split = {22, -2, 10, 10};
  EXPECT_EQ(only_fault().what, "stage 1 has -2");
  layout_.layer_split = {INT_MAX, INT_MAX, INT_MAX, INT_MAX};
  EXPECT_EQ(only_fault().what, "add up to 8589934588, but the model has 40");
}

TEST_F(Validate, OnlyStagesWithEmbeddingOrHeadMayHaveNoLayers) {
  layout_.layer_split = {0, 20, 20, 0};
  expect_valid();
  layout_.layer_split = {20, 20, 0, 0};
  EXPECT_EQ(only_fault().what, "stage 2 has none, and holds neither embedding nor head");
}

TEST_F(Validate, ZeroStagesAndGroups) {
  layout_.zero_stage = -1;
  EXPECT_EQ(only_fault().where, "layout: zero");
  layout_.zero_stage = 3;
  layout_.zero_group = 4;
  expect_valid();
  layout_.zero_group = 3;
  EXPECT_EQ(only_fault().what, "3 does not divide dp 8 x cp 1 = 8 ranks");
  layout_.zero_group = -4;
  EXPECT_EQ(only_fault().where, "layout: zero-group");
  layout_.zero_group = 8;
  layout_.data_parallel = 4;
  layout_.context_parallel = 2;  // states are sharded over context ranks too
  expect_valid();
}

TEST_F(Validate, GradientsAreFp32OrAsTheLayersStoreThem) {
  layout_.gradient_dtype = Precision::bf16;
  expect_valid();
  layout_.gradient_dtype = Precision::fp16;
  EXPECT_EQ(only_fault().what, "fp16 does not go with precision bf16");
  EXPECT_EQ(only_fault().fix, "set gradient-dtype=fp32 or bf16");
  layout_.precision = Precision::tf32;
  layout_.gradient_dtype = Precision::tf32;
  EXPECT_EQ(only_fault().fix, "set gradient-dtype=fp32");
  cluster_.device.peak_flop_per_s[static_cast<std::size_t>(Precision::fp8)] = 1e15;
  layout_.precision = Precision::fp8;
  layout_.gradient_dtype = Precision::bf16;
  expect_valid();
  layout_.gradient_dtype = Precision::fp8;
  EXPECT_EQ(only_fault().where, "layout: gradient-dtype");
}

TEST_F(Validate, TheDeviceNeedsThePrecision) {
  layout_.precision = Precision::fp8;
  EXPECT_EQ(only_fault().what, "fp8 has no stated peak on A100");
  EXPECT_EQ(only_fault().fix, "use one of fp32, tf32, fp16, bf16");
  cluster_.device.peak_flop_per_s = {};
  EXPECT_EQ(only_fault().fix, "state device.peak in the cluster file");
}

TEST_F(Validate, Flash3NeedsHopper) {
  layout_.attention = AttentionKernel::flash3;
  EXPECT_EQ(only_fault().what, "flash3 needs Hopper; the architecture of A100 is \"ampere\"");
  cluster_.device.architecture = "hopper";
  expect_valid();
}

TEST_F(Validate, Flash3NeedsSixteenBitsOrFewer) {
  cluster_.device.architecture = "hopper";
  layout_.attention = AttentionKernel::flash3;
  layout_.gradient_dtype = Precision::fp32;
  for (const Precision precision : {Precision::fp32, Precision::tf32}) {
    layout_.precision = precision;
    EXPECT_EQ(only_fault().where, "layout: attention");
  }
  EXPECT_EQ(only_fault().what, "flash3 computes in fp16, bf16 or fp8, not in tf32");
  layout_.precision = Precision::fp16;
  expect_valid();
  layout_.precision = Precision::fp32;
  layout_.attention = AttentionKernel::flash2;  // there are such kernels of others
  expect_valid();
}

TEST_F(Validate, FlashKernelsEndAtAWidthOfHeads) {
  job_.model.head_dim = 256;
  layout_.attention = AttentionKernel::flash1;
  EXPECT_EQ(only_fault().what, "flash1 takes heads of up to 128 elements; the model's have 256");
  EXPECT_EQ(only_fault().fix, "use flash2, fused-softmax or unfused");
  layout_.attention = AttentionKernel::flash2;
  expect_valid();
  job_.model.head_dim = 257;
  EXPECT_EQ(only_fault().what, "flash2 takes heads of up to 256 elements; the model's have 257");
  EXPECT_EQ(only_fault().fix, "use fused-softmax or unfused");
  layout_.attention = AttentionKernel::fused_softmax;
  expect_valid();
  layout_.attention = AttentionKernel::flash2;
  cluster_.device.architecture = "cpu";  // our own kernels
  expect_valid();
}

TEST_F(Validate, VoltaStopsAtFlash1) {
  cluster_.device.architecture = "volta";
  EXPECT_EQ(only_fault().where, "layout: attention");
  layout_.attention = AttentionKernel::flash1;
  expect_valid();
}

TEST_F(Validate, OffloadNeedsHostMemoryAndALinkToIt) {
  layout_.offload.optimizer = true;
  expect_valid();
  cluster_.host_link_bandwidth = 0;
  EXPECT_EQ(only_fault().what, "cluster a100 states no host link");
  cluster_.host_memory = 0;
  EXPECT_EQ(only_fault().what, "cluster a100 states no host memory");
  layout_.offload = {};
  expect_valid();
}

TEST_F(Validate, TheJobItselfMustMakeSense) {
  job_.seq_length = 0;
  EXPECT_EQ(only_fault().where, "job: sequence length");
  job_ = testing::llama_13b();
  job_.global_batch_size = LLONG_MAX;
  EXPECT_EQ(faults(layout_, job_, cluster_, devices_).front().where, "job: global batch size");
  job_ = testing::llama_13b();
  job_.vocab_multiple = -1;
  EXPECT_EQ(only_fault().where, "job: vocabulary multiple");
  job_ = testing::llama_13b();
  devices_ = 0;
  EXPECT_EQ(faults(layout_, job_, cluster_, devices_).front().where, "job: devices");
}

TEST_F(Validate, LearnedPositionsBoundTheSequence) {
  job_.seq_length = 4096;
  expect_valid();  // rotary positions go on
  job_.model.positions = Positions::learned;
  EXPECT_EQ(only_fault().fix, "give at most 2048");
}

TEST_F(Validate, FirstFaultSaysWhyWithoutValues) {
  EXPECT_EQ(first_fault(layout_, job_, cluster_, devices_), std::nullopt);
  layout_.micro_batch_size = 3;
  EXPECT_EQ(first_fault(layout_, job_, cluster_, devices_),
            "dp x micro-batch does not divide the global batch");
}

TEST_F(Validate, AgreesWithItselfOnHostileValues) {
  std::mt19937 random(7);
  const auto any = [&]() -> int {
    constexpr int values[] = {INT_MIN, -1, 0, 1, 1, 1, 2, 2, 4, 8, max_degree, INT_MAX};
    return values[random() % std::size(values)];
  };
  int valid = 0;
  for (int repeat = 0; repeat < 20000; ++repeat) {
    ParallelLayout layout;
    layout.tensor_parallel = any();
    layout.pipeline_parallel = any();
    layout.data_parallel = any();
    layout.context_parallel = any();
    layout.micro_batch_size = any();
    layout.virtual_stages_per_rank = any();
    layout.zero_stage = any();
    layout.zero_group = any();
    layout.schedule = static_cast<ScheduleKind>(random() % 4);
    for (auto stage = random() % 3; stage > 0; --stage) layout.layer_split.push_back(any());
    TrainingJob job = job_;
    if (random() % 4 == 0) job.seq_length = any();
    if (random() % 4 == 0) job.global_batch_size = any();
    const std::int64_t devices = 1LL << random() % 5;
    const bool is = is_valid(layout, job, cluster_, devices);
    ASSERT_EQ(is, faults(layout, job, cluster_, devices).empty());
    valid += is;
  }
  EXPECT_GT(valid, 0);
}

}  // namespace
}  // namespace kumihimo
