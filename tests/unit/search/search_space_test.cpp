#include "search/search_space.hpp"

#include <gmock/gmock.h>

#include "example.hpp"

namespace kumihimo {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Le;
using ::testing::Not;

Device device(const char* architecture) {
  Device device;
  device.architecture = architecture;
  return device;
}

TEST(DefaultSpace, FollowsTheJobAndTheDevices) {
  const SearchSpace space = testing::llama_13b_on_64_a100().space;
  // 40 heads on nodes of 8: 5 divides the heads, but not the 64 devices.
  EXPECT_THAT(space.tensor_parallel, ElementsAre(1, 2, 4, 8));
  // Divisors of 64 up to the 40 layers, whether they divide the layers or not.
  EXPECT_THAT(space.pipeline_parallel, ElementsAre(1, 2, 4, 8, 16, 32));
  EXPECT_THAT(space.context_parallel, ElementsAre(1));
  EXPECT_THAT(space.micro_batch_size, ElementsAre(1, 2, 4, 8, 16));
  EXPECT_THAT(space.zero_stage, ElementsAre(0, 1, 3));
  EXPECT_THAT(space.recompute, ElementsAre(Recompute::none, Recompute::selective, Recompute::full));
  EXPECT_THAT(space.schedules, Contains(ScheduleChoice{ScheduleKind::interleaved, 5}));
  EXPECT_THAT(space.schedules, Not(Contains(ScheduleChoice{ScheduleKind::interleaved, 3})));
  EXPECT_THAT(space.attention, ElementsAre(AttentionKernel::flash2));
  EXPECT_THAT(space.precision, ElementsAre(Precision::bf16));
}

TEST(DefaultSpace, TensorParallelismStaysInTheNode) {
  SearchRequest request = testing::llama_13b_on_64_a100();
  request.cluster.devices_per_node = 4;
  const SearchSpace space = default_space(request.job, request.cluster, 64, request.profile);
  EXPECT_THAT(space.tensor_parallel, Each(Le(4)));
}

TEST(DefaultSpace, SplitsLongSequencesOnly) {
  SearchRequest request = testing::llama_13b_on_64_a100();
  const auto degrees = [&](std::int64_t seq_length) {
    request.job.seq_length = seq_length;
    return default_space(request.job, request.cluster, 64, request.profile).context_parallel;
  };
  EXPECT_THAT(degrees(8192), ElementsAre(1));
  EXPECT_THAT(degrees(16384), ElementsAre(1, 2));
  EXPECT_THAT(degrees(131072), ElementsAre(1, 2, 4, 8, 16));
}

TEST(DefaultSpace, MicroBatchesDivideTheGlobalBatch) {
  SearchRequest request = testing::llama_13b_on_64_a100();
  request.job.global_batch_size = 1536;
  EXPECT_THAT(default_space(request.job, request.cluster, 64, request.profile).micro_batch_size,
              ElementsAre(1, 2, 3, 4, 6, 8, 12, 16));
}

TEST(DefaultSpace, AttentionIsWhatStackAndDeviceHave) {
  StackProfile profile;
  profile.defaults.attention = AttentionKernel::flash3;
  const auto kernel = [&](const char* architecture, Precision precision = Precision::bf16,
                          std::int64_t head_dim = 128) {
    return default_attention(device(architecture), profile.defaults, precision, head_dim);
  };
  EXPECT_EQ(kernel("hopper"), AttentionKernel::flash3);
  EXPECT_EQ(kernel("ampere"), AttentionKernel::flash2);
  EXPECT_EQ(kernel("volta"), AttentionKernel::flash1);
  EXPECT_EQ(kernel("hopper", Precision::fp8), AttentionKernel::flash3);
  EXPECT_EQ(kernel("hopper", Precision::tf32), AttentionKernel::flash2);
  EXPECT_EQ(kernel("hopper", Precision::fp32, 257), AttentionKernel::fused_softmax);
  EXPECT_EQ(kernel("ampere", Precision::bf16, 256), AttentionKernel::flash2);
  EXPECT_EQ(kernel("cpu", Precision::fp32, 512), AttentionKernel::flash2);
  profile.defaults.attention = AttentionKernel::flash2;
  EXPECT_EQ(kernel("hopper"), AttentionKernel::flash2);
  profile.defaults.attention = AttentionKernel::flash1;
  EXPECT_EQ(kernel("ampere", Precision::bf16, 256), AttentionKernel::fused_softmax);
  EXPECT_EQ(kernel("volta", Precision::bf16, 256), AttentionKernel::flash1);
  profile.defaults.attention = AttentionKernel::fused_softmax;
  EXPECT_EQ(kernel("hopper"), AttentionKernel::fused_softmax);
}

TEST(DefaultSpace, PrecisionIsWhatStackAndDeviceHave) {
  StackProfile profile;
  Device ampere = device("ampere");
  ampere.peak_flop_per_s = {19e12, 156e12, 312e12, 312e12, 0};
  Device volta = device("volta");
  volta.peak_flop_per_s = {15e12, 0, 125e12, 0, 0};
  Device plain = device("cpu");
  plain.peak_flop_per_s = {1e12, 0, 0, 0, 0};
  EXPECT_EQ(default_precision(ampere, profile.defaults), Precision::bf16);
  EXPECT_EQ(default_precision(volta, profile.defaults), Precision::fp16);
  EXPECT_EQ(default_precision(plain, profile.defaults), Precision::fp32);
  profile.defaults.precision = Precision::fp8;
  EXPECT_EQ(default_precision(ampere, profile.defaults), Precision::bf16);
}

TEST(DefaultSpace, NarrowGradientsFollowThePrecision) {
  SearchRequest request = testing::llama_13b_on_64_a100();
  request.profile.defaults.gradient_dtype = Precision::bf16;
  request.cluster.device.peak_flop_per_s = {15e12, 0, 125e12, 0, 0};
  const SearchSpace space = default_space(request.job, request.cluster, 64, request.profile);
  EXPECT_THAT(space.precision, ElementsAre(Precision::fp16));
  EXPECT_THAT(space.gradient_dtype, ElementsAre(Precision::fp16));
}

TEST(SearchSpace, SizeIsTheProductAndSaturates) {
  SearchSpace space;
  EXPECT_EQ(space.size(), 1);
  space.tensor_parallel = {1, 2, 4};
  space.zero_stage = {0, 1};
  EXPECT_EQ(space.size(), 3 * 2);
  for (auto* list : {&space.tensor_parallel, &space.pipeline_parallel, &space.context_parallel,
                     &space.micro_batch_size, &space.zero_stage, &space.zero_group}) {
    list->assign(100'000, 1);
  }
  EXPECT_EQ(space.size(), std::numeric_limits<std::int64_t>::max());
  space.zero_group.clear();
  EXPECT_EQ(space.size(), 0);
}

}  // namespace
}  // namespace kumihimo
