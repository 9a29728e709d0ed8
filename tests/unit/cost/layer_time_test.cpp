#include "cost/layer_time.hpp"

#include <cmath>
#include <gtest/gtest.h>

#include "support/round_machine.hpp"

namespace kumihimo {
namespace {

using testing::ideal_profile;
using testing::round_cluster;

/// 2 Tflop, 3 TFLOP and 4 TFLOP of products with 100, 200 and 300 GB, in one kernel each.
Operation product() {
  Operation operation{.name = "product", .kind = OperationKind::matmul};
  operation.forward = {2e12, 1e11, 1};
  operation.backward_input = {3e12, 2e11, 1};
  operation.backward_weight = {4e12, 3e11, 1};
  operation.saved_bytes = 10;
  operation.live_bytes = 1000;
  return operation;
}

/// 1 TFLOP, or 100 GB, forward and twice that backward.
Operation core(AttentionKernel kernel) {
  Operation operation{.name = "core", .kind = OperationKind::attention, .attention = kernel};
  operation.attention_core = true;
  operation.keys = 2000;
  operation.forward = {1e12, 1e11, 1};
  operation.backward_input = {2e12, 2e11, 1};
  operation.saved_bytes = 500;
  return operation;
}

Operation passes(OperationKind kind, double forward_kernels) {
  Operation operation{.name = "passes", .kind = kind};
  operation.forward = {0, 1e11, forward_kernels};  // 1 s
  operation.saved_bytes = 7;
  return operation;
}

Operation reduction(double bytes) {
  Operation operation{.name = "reduction", .kind = OperationKind::collective};
  operation.forward_collective = {CollectiveKind::all_gather, LayerAxis::tensor, bytes};
  operation.backward_collective = {CollectiveKind::all_gather, LayerAxis::tensor, bytes};
  operation.backward_weight_collective = {CollectiveKind::all_gather, LayerAxis::tensor, bytes};
  return operation;
}

struct Machine {
  Cluster cluster = round_cluster();
  StackProfile profile = ideal_profile();
  Recompute recompute = Recompute::none;
  bool overlap_tensor_parallel = false;

  PieceCost cost(const std::vector<Operation>& operations) const {
    const LayerGroups groups{{4, 4, 1}, {2, 1, 2}};
    return piece_cost(operations, recompute, 40, overlap_tensor_parallel, groups, cluster, profile);
  }
};

TEST(PieceCost, ProductsTakeTheirFlopsAtTheReachedShareOfThePeak) {
  Machine machine;
  machine.profile.matmul_16bit = 0.5;
  const PieceCost cost = machine.cost({product()});
  EXPECT_DOUBLE_EQ(cost.forward.matmul, 2e12 / (0.5 * 1e12));
  EXPECT_DOUBLE_EQ(cost.backward_input.matmul, 3e12 / (0.5 * 1e12));
  EXPECT_DOUBLE_EQ(cost.backward_weight.matmul, 4e12 / (0.5 * 1e12));
  EXPECT_DOUBLE_EQ(cost.forward.total(), cost.forward.matmul);
}

TEST(PieceCost, TrafficHidesBehindArithmeticAndKernelsComeOnTop) {
  Machine machine;
  machine.profile.matmul_traffic = 0.25;
  machine.profile.kernel_s = 0.125;
  EXPECT_DOUBLE_EQ(machine.cost({product()}).forward.matmul,
                   std::hypot(2.0, 0.25 * 1e11 / 1e11) + 1 * 0.125);
}

TEST(PieceCost, EachPrecisionHasItsPeakAndShare) {
  Machine machine;
  machine.profile.matmul_fp8 = 0.5;
  machine.profile.matmul_16bit = 0.8;
  machine.profile.matmul_fp32 = 0.4;
  Operation operation = product();
  operation.precision = Precision::fp8;
  EXPECT_DOUBLE_EQ(machine.cost({operation}).forward.matmul, 2e12 / (0.5 * 2e12));
  operation.precision = Precision::fp32;
  EXPECT_DOUBLE_EQ(machine.cost({operation}).forward.matmul, 2e12 / (0.4 * 0.5e12));
  operation.precision = Precision::bf16;
  machine.cluster.device.peak_flop_per_s[static_cast<std::size_t>(Precision::bf16)] = 0;
  EXPECT_DOUBLE_EQ(machine.cost({operation}).forward.matmul, 2e12 / (0.8 * 1e12));  // as fp16
}

TEST(PieceCost, SharesAreOfWhatTheDeviceLetsProductsReach) {
  Machine machine;
  machine.profile.matmul_16bit = 0.8;
  machine.profile.attention_flash2 = 0.5;
  machine.cluster.device.achievable_flop_per_s[static_cast<std::size_t>(Precision::bf16)] = 0.6e12;
  const PieceCost cost = machine.cost({product(), core(AttentionKernel::flash2)});
  EXPECT_DOUBLE_EQ(cost.forward.matmul, 2e12 / (0.8 * 0.6e12));
  EXPECT_DOUBLE_EQ(cost.forward.attention, 1e12 / (0.5 * 0.6e12));
}

TEST(PieceCost, FlashAttentionIsBoundByArithmetic) {
  Machine machine;
  machine.profile.attention_flash1 = 0.25;
  machine.profile.attention_flash2 = 0.5;
  machine.profile.attention_backward = 0.8;
  const PieceCost cost = machine.cost({core(AttentionKernel::flash2)});
  EXPECT_DOUBLE_EQ(cost.forward.attention, 1e12 / (0.5 * 1e12));
  EXPECT_DOUBLE_EQ(cost.backward_input.attention, 2e12 / (0.5 * 0.8 * 1e12));
  EXPECT_DOUBLE_EQ(machine.cost({core(AttentionKernel::flash1)}).forward.attention,
                   1e12 / (0.25 * 1e12));
}

TEST(PieceCost, OnlyTheThirdFlashAttentionIsAsFastAsHoppersInstructions) {
  Machine machine;
  machine.profile.attention_flash1 = machine.profile.attention_flash2 = 0.5;
  machine.profile.attention_flash3 = 0.5;
  machine.cluster.device.warp_mma = 0.4;
  for (const AttentionKernel on_warps : {AttentionKernel::flash1, AttentionKernel::flash2}) {
    EXPECT_DOUBLE_EQ(machine.cost({core(on_warps)}).forward.attention, 1e12 / (0.5 * 0.4 * 1e12));
  }
  EXPECT_DOUBLE_EQ(machine.cost({core(AttentionKernel::flash3)}).forward.attention,
                   1e12 / (0.5 * 1e12));
}

TEST(PieceCost, FlashAttentionFillsTheDeviceWithTheKeysOfASequence) {
  Machine machine;
  machine.profile.attention_flash2 = 0.5;
  machine.profile.attention_half_keys = 500;
  // 2,000 keys reach 2000 / (2000 + 500) of the share.
  EXPECT_DOUBLE_EQ(machine.cost({core(AttentionKernel::flash2)}).forward.attention,
                   1e12 / (0.5 * 0.8 * 1e12));
}

TEST(PieceCost, StoredScoresAreBoundByMemoryToo) {
  Machine machine;
  machine.profile.matmul_16bit = 0.5;
  machine.profile.attention_unfused = 0.25;
  machine.profile.attention_fused_softmax = 0.8;
  EXPECT_DOUBLE_EQ(machine.cost({core(AttentionKernel::unfused)}).forward.attention,
                   1e12 / (0.5 * 1e12) + 1e11 / (0.25 * 1e11));
  EXPECT_DOUBLE_EQ(machine.cost({core(AttentionKernel::fused_softmax)}).forward.attention,
                   1e12 / (0.5 * 1e12) + 1e11 / (0.8 * 1e11));
}

TEST(PieceCost, PassesOverMemoryHaveAShareByKind) {
  Machine machine;
  machine.profile.norm_fused = 0.5;
  machine.profile.norm_unfused = 0.25;
  machine.profile.elementwise = 0.2;
  machine.profile.loss = 0.1;
  Operation norm = passes(OperationKind::norm, 1);
  norm.norm = NormKernel::fused;
  EXPECT_DOUBLE_EQ(machine.cost({norm}).forward.norm, 1 / 0.5);
  norm.norm = NormKernel::unfused;
  EXPECT_DOUBLE_EQ(machine.cost({norm}).forward.norm, 1 / 0.25);
  EXPECT_DOUBLE_EQ(machine.cost({passes(OperationKind::elementwise, 1)}).forward.elementwise,
                   1 / 0.2);
  EXPECT_DOUBLE_EQ(machine.cost({passes(OperationKind::loss, 6)}).forward.elementwise, 1 / 0.1);
}

TEST(PieceCost, LaunchesShowWhereTheDeviceIsFaster) {
  Machine machine;
  // All host: 6 kernels of 1 s against next to nothing of work.
  machine.profile.launch_s = 1;
  Operation small = passes(OperationKind::elementwise, 6);
  small.forward.bytes = 1;
  EXPECT_NEAR(machine.cost({small}).forward.total(), 6, 1e-6);

  // All device: the launch of one kernel hides behind 2 s.
  machine.profile.launch_s = 0.02;
  EXPECT_NEAR(machine.cost({product()}).forward.host, 0, 1e-4);

  // As long as each other: more than either, less than both.
  machine.profile.launch_s = 2;
  const PassTime even = machine.cost({product()}).forward;
  EXPECT_GT(even.total(), 2);
  EXPECT_LT(even.total(), 4);
  EXPECT_DOUBLE_EQ(even.total(), even.matmul + even.host);
}

TEST(PieceCost, TensorCommunicationIsExposedOrHiddenNeverLost) {
  Machine machine;
  machine.profile.tensor_parallel_overlap = 0.75;
  machine.profile.tensor_backward_overlap = 0.25;
  const double all = 3.0 / 4 * 4e10 / 1e10;  // of four ranks at 10 GB/s

  const PieceCost plain = machine.cost({reduction(4e10)});
  EXPECT_DOUBLE_EQ(plain.forward.tensor_comm, all);
  EXPECT_DOUBLE_EQ(plain.forward.hidden, 0);
  EXPECT_DOUBLE_EQ(plain.backward_input.tensor_comm, (1 - 0.25) * all);
  EXPECT_DOUBLE_EQ(plain.backward_input.hidden, 0.25 * all);

  machine.overlap_tensor_parallel = true;
  const PieceCost overlapped = machine.cost({reduction(4e10)});
  EXPECT_DOUBLE_EQ(overlapped.forward.tensor_comm, (1 - 0.75) * all);
  for (const auto pass :
       {&PieceCost::forward, &PieceCost::backward_input, &PieceCost::backward_weight}) {
    EXPECT_DOUBLE_EQ((overlapped.*pass).tensor_comm + (overlapped.*pass).hidden, all);
    EXPECT_DOUBLE_EQ((plain.*pass).tensor_comm + (plain.*pass).hidden, all);
    EXPECT_LE((overlapped.*pass).tensor_comm, (plain.*pass).tensor_comm);
  }
}

TEST(PieceCost, RingAttentionHidesBehindItsOwnArithmetic) {
  Machine machine;
  machine.profile.tensor_parallel_overlap = 0.5;
  Operation operation = core(AttentionKernel::flash2);  // 1 s forward
  operation.forward_collective = {CollectiveKind::send_receive, LayerAxis::context, 3e9};
  const PassTime forward = machine.cost({operation}).forward;
  EXPECT_DOUBLE_EQ(forward.hidden, 0.5 * 1);
  EXPECT_DOUBLE_EQ(forward.context_comm, 3e9 / 1e9 - 0.5 * 1);
}

TEST(PieceCost, RecomputationRepeatsForwardAndKeepsLess) {
  const std::vector<Operation> operations{product(), core(AttentionKernel::flash2),
                                          passes(OperationKind::elementwise, 1)};
  Machine machine;
  machine.profile.recompute_overhead = 1.5;
  const PieceCost none = machine.cost(operations);
  EXPECT_DOUBLE_EQ(none.backward_input.total(), 3 + 2);
  EXPECT_DOUBLE_EQ(none.kept_bytes, 10 + 500 + 7);
  EXPECT_DOUBLE_EQ(none.working_bytes, 0);

  machine.recompute = Recompute::selective;
  const PieceCost selective = machine.cost(operations);
  EXPECT_DOUBLE_EQ(selective.backward_input.total(), 3 + 2 + 1.5 * 1);
  EXPECT_DOUBLE_EQ(selective.kept_bytes, 10 + 7);
  EXPECT_DOUBLE_EQ(selective.working_bytes, 500);

  machine.recompute = Recompute::full;
  const PieceCost full = machine.cost(operations);
  EXPECT_DOUBLE_EQ(full.backward_input.total(), 3 + 2 + 1.5 * (2 + 1 + 1));
  EXPECT_DOUBLE_EQ(full.kept_bytes, 40);  // the layer's input
  EXPECT_DOUBLE_EQ(full.working_bytes, 10 + 500 + 7);

  for (const PieceCost& cost : {selective, full}) {
    EXPECT_DOUBLE_EQ(cost.forward.total(), none.forward.total());
    EXPECT_DOUBLE_EQ(cost.backward_weight.total(), none.backward_weight.total());
  }
  EXPECT_DOUBLE_EQ(full.temporary_bytes, 1000);
}

TEST(PieceCost, FullRecomputationRepeatsTheCommunicationOfForward) {
  Machine machine;
  machine.recompute = Recompute::full;
  const PieceCost cost = machine.cost({reduction(4e10)});
  EXPECT_DOUBLE_EQ(cost.backward_input.tensor_comm, 3 + 3);
}

TEST(PassTime, CategoriesAddUpAndHiddenTimeStandsApart) {
  const PassTime time{.matmul = 1,
                      .attention = 2,
                      .norm = 4,
                      .elementwise = 8,
                      .tensor_comm = 16,
                      .context_comm = 32,
                      .pipeline_comm = 64,
                      .data_comm = 128,
                      .host_link = 0.5,
                      .host = 256,
                      .hidden = 512};
  EXPECT_EQ(time.compute(), 1 + 2 + 4 + 8);
  EXPECT_EQ(time.total(), 511.5);
  EXPECT_EQ(time.scaled(3).total(), 3 * 511.5);
  EXPECT_EQ(time.scaled(3).hidden, 3 * 512);
  PassTime sum = time;
  sum += time;
  EXPECT_EQ(sum.total(), 2 * 511.5);
  EXPECT_EQ(sum.hidden, 2 * 512);
}

}  // namespace
}  // namespace kumihimo
