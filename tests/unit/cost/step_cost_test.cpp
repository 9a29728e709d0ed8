#include "cost/step_cost.hpp"

#include <cmath>
#include <gtest/gtest.h>
#include <numeric>

#include "model/sharded_parameters.hpp"
#include "support/round_machine.hpp"

namespace kumihimo {
namespace {

using testing::ideal_profile;
using testing::round_cluster;
using testing::small_job;

PassTime products(double seconds) {
  PassTime time;
  time.matmul = seconds;
  return time;
}

/// A layer of 1 s forward and 1 s for each half of backward, an embedding of 0.25 s, a head of 2 s,
/// 1 GB from stage to stage.
struct Step {
  TrainingJob job = small_job();
  ParallelLayout layout;
  Cluster cluster = round_cluster();
  StackProfile profile = ideal_profile();
  PieceCosts pieces;

  Step() {
    pieces.layer = {.forward = products(1),
                    .backward_input = products(1),
                    .backward_weight = products(1),
                    .kept_bytes = 100};
    pieces.embedding = {.forward = products(0.25), .kept_bytes = 30};
    pieces.head = {.forward = products(2),
                   .backward_input = products(2),
                   .backward_weight = products(2),
                   .kept_bytes = 70};
    pieces.boundary_bytes = 1e9;
  }
  StepCost cost() const { return step_cost(pieces, job, layout, cluster, profile); }
  double layer_weights() const {
    return static_cast<double>(layer_parameters(job.model, layout.tensor_parallel));
  }
  /// All weights of a pipeline of one rank.
  double weights() const {
    return 8 * layer_weights() + static_cast<double>(embedding_parameters(job.model, 256, 1) +
                                                     head_parameters(job.model, 256, 1, false));
  }
};

TEST(StepCost, AStageIsItsLayersAndTheEndsHoldMore) {
  Step step;
  step.layout.pipeline_parallel = 4;
  step.pieces.boundary_bytes = 0;
  const StepCost cost = step.cost();
  ASSERT_EQ(cost.chunks.size(), 4u);
  EXPECT_EQ(cost.num_micro_batches, 8);
  EXPECT_DOUBLE_EQ(cost.chunks[0].forward_s, 2 * 1 + 0.25);
  EXPECT_DOUBLE_EQ(cost.chunks[1].forward_s, 2 * 1);
  EXPECT_DOUBLE_EQ(cost.chunks[3].forward_s, 2 * 1 + 2);
  EXPECT_DOUBLE_EQ(cost.chunks[3].backward_input_s, 2 * 1 + 2);
  EXPECT_DOUBLE_EQ(cost.chunks[3].backward_weight_s, 2 * 1 + 2);
  EXPECT_DOUBLE_EQ(cost.chunks[0].kept_bytes, 2 * 100 + 30);
}

TEST(StepCost, AnUnevenSplitIsTakenAsGiven) {
  Step step;
  step.layout.pipeline_parallel = 3;
  step.layout.layer_split = {3, 4, 1};
  step.pieces.boundary_bytes = 0;
  const StepCost cost = step.cost();
  EXPECT_DOUBLE_EQ(cost.chunks[0].forward_s, 3 * 1 + 0.25);
  EXPECT_DOUBLE_EQ(cost.chunks[1].forward_s, 4 * 1);
  EXPECT_DOUBLE_EQ(cost.chunks[2].forward_s, 1 * 1 + 2);
}

TEST(StepCost, LogitsLiveInOneMicroBatchOnly) {
  Step step;
  step.profile.logits_factor = 1.5;
  const StepCost cost = step.cost();
  EXPECT_DOUBLE_EQ(cost.chunks[0].kept_bytes, 8 * 100 + 30);
  EXPECT_DOUBLE_EQ(cost.chunks[0].working_bytes, 1.5 * 70);
}

TEST(StepCost, AMessageTravelsInPartBesideBothItsRanks) {
  Step step;
  step.layout.pipeline_parallel = 2;
  step.profile.point_to_point_overlap = 0.75;
  const double message = 1e9 / 10e9;
  const StepCost cost = step.cost();
  EXPECT_DOUBLE_EQ(cost.chunks[0].message_s, 0.75 * message);
  EXPECT_DOUBLE_EQ(cost.chunks[0].forward.pipeline_comm, 0.25 * message);
  EXPECT_DOUBLE_EQ(cost.chunks[1].forward.pipeline_comm, 0.25 * message);
  EXPECT_DOUBLE_EQ(cost.chunks[1].backward_input.pipeline_comm, 0.25 * message);
  EXPECT_DOUBLE_EQ(cost.chunks[1].message_s, 0);  // what leaves the last stage is the loss
}

TEST(StepCost, InterleavedStagesReturnFromTheLastRankToTheFirst) {
  Step step;
  step.layout.pipeline_parallel = 2;
  step.layout.data_parallel = 2;  // ranks of a pipeline are 2 apart
  step.layout.schedule = ScheduleKind::interleaved;
  step.layout.virtual_stages_per_rank = 2;
  step.cluster.devices_per_node = 2;
  step.profile.point_to_point_overlap = 1;
  StepCost cost = step.cost();
  ASSERT_EQ(cost.chunks.size(), 4u);
  for (const int stage : {0, 1, 2}) EXPECT_DOUBLE_EQ(cost.chunks[stage].message_s, 1e9 / 1e9);

  step.layout.pipeline_parallel = 4;
  step.layout.data_parallel = 1;
  cost = step.cost();
  EXPECT_DOUBLE_EQ(cost.chunks[3].message_s, 1e9 / 1e9);  // three ranks back: the other node
}

TEST(StepCost, MessagesOfAJobThatOutgrewItsNetworkHoldUpBothEnds) {
  Step step;
  step.layout.pipeline_parallel = 4;
  step.pieces.boundary_bytes = 0;
  step.profile.congested_message_s = 10;
  step.profile.congested_nodes = 1e-3;
  EXPECT_DOUBLE_EQ(step.cost().chunks[1].forward.pipeline_comm, 0);  // inside a node
  step.cluster.devices_per_node = 1;
  const StepCost cost = step.cost();
  EXPECT_DOUBLE_EQ(cost.chunks[0].forward.pipeline_comm, 10);
  EXPECT_DOUBLE_EQ(cost.chunks[1].forward.pipeline_comm, 20);  // one on either side
  EXPECT_DOUBLE_EQ(cost.chunks[1].backward_input.pipeline_comm, 20);
  step.profile.congested_nodes = 1e3;
  EXPECT_NEAR(step.cost().chunks[1].forward.pipeline_comm, 0, 1e-9);
}

TEST(StepCost, StepsOfTensorParallelRingsKeepTheHostBusyBesideMessagesBetweenNodes) {
  Step step;
  step.layout.tensor_parallel = 2;
  step.layout.pipeline_parallel = 2;
  step.pieces.boundary_bytes = 0;
  step.pieces.layer.forward.launches = 0.5;
  step.pieces.layer.forward.tensor_hops = 3;
  step.profile.busy_hop_s = 10;
  EXPECT_DOUBLE_EQ(step.cost().chunks[1].forward.host, 0);  // inside a node
  step.cluster.devices_per_node = 2;
  // Four layers, each the longer of 1 s of device and 30.5 s of host, with a soft corner.
  EXPECT_NEAR(step.cost().chunks[1].forward.host, 4 * (30.5 - 1), 1e-3);
  step.profile.busy_hop_s = 0;
  EXPECT_NEAR(step.cost().chunks[1].forward.host, 4 * (std::pow(1 + 1.0 / 16, 0.25) - 1), 1e-9);
}

TEST(StepCost, OneRankSendsNothingAndWaitsForNoHost) {
  Step step;
  step.profile.micro_batch_s = 5;
  EXPECT_DOUBLE_EQ(step.cost().chunks[0].forward_s, 8 * 1 + 0.25 + 2);
  step.layout.pipeline_parallel = 2;
  step.pieces.boundary_bytes = 0;
  EXPECT_DOUBLE_EQ(step.cost().chunks[0].forward_s, 4 * 1 + 0.25 + 5);
}

TEST(StepCost, ARecomputedForwardWaitsForTheHostAgain) {
  Step step;
  step.profile.micro_batch_s = 5;
  step.layout.pipeline_parallel = 2;
  step.pieces.boundary_bytes = 0;
  const double kept = step.cost().chunks[0].backward_input_s;
  step.layout.recompute = Recompute::full;  // of the same pieces
  EXPECT_DOUBLE_EQ(step.cost().chunks[0].backward_input_s, kept + 5);
}

TEST(StepCost, ReplicasSumTheirGradients) {
  Step step;
  step.layout.data_parallel = 4;
  step.layout.gradient_dtype = Precision::fp32;
  StepCost cost = step.cost();
  EXPECT_EQ(cost.num_micro_batches, 2);
  EXPECT_DOUBLE_EQ(cost.ranks[0].reduce_s, 2 * 3.0 / 4 * 4 * step.weights() / 10e9);
  EXPECT_DOUBLE_EQ(cost.ranks[0].gather_s, 0);

  step.layout.gradient_dtype = Precision::bf16;
  EXPECT_DOUBLE_EQ(step.cost().ranks[0].reduce_s, cost.ranks[0].reduce_s / 2);

  step.layout.data_parallel = 1;
  EXPECT_EQ(step.cost().ranks[0].reduce_s, 0);
}

TEST(StepCost, Zero1ScattersGradientsAndGathersWeights) {
  Step step;
  step.layout.data_parallel = 4;
  step.layout.zero_stage = 1;
  const StepCost cost = step.cost();
  EXPECT_DOUBLE_EQ(cost.ranks[0].reduce_s, 3.0 / 4 * 4 * step.weights() / 10e9);
  EXPECT_DOUBLE_EQ(cost.ranks[0].gather_s, 3.0 / 4 * 2 * step.weights() / 10e9);
}

TEST(StepCost, Zero2And3CommunicateWithEveryMicroBatch) {
  Step step;
  step.layout.data_parallel = 4;
  const double scatter = 3.0 / 4 * 4 * step.weights() / 10e9;
  const double gather = 3.0 / 4 * 2 * step.weights() / 10e9;

  step.layout.zero_stage = 2;
  StepCost cost = step.cost();
  EXPECT_DOUBLE_EQ(cost.chunks[0].forward.data_comm, 0);
  EXPECT_DOUBLE_EQ(cost.chunks[0].backward_input.data_comm, scatter);
  EXPECT_EQ(cost.ranks[0].reduce_s, 0);
  EXPECT_DOUBLE_EQ(cost.ranks[0].gather_s, gather);  // whole weights are kept, and updated in parts

  step.layout.zero_stage = 3;
  cost = step.cost();
  EXPECT_DOUBLE_EQ(cost.chunks[0].forward.data_comm, gather);
  EXPECT_DOUBLE_EQ(cost.chunks[0].backward_input.data_comm, gather + scatter);
  EXPECT_EQ(cost.ranks[0].gather_s, 0);
}

TEST(StepCost, ShardedTrafficHidesBehindBothHalvesOfBackward) {
  Step step;
  step.layout.data_parallel = 4;
  step.layout.zero_stage = 3;
  step.cluster.intra_node.bandwidth = 1e4;
  step.profile.data_parallel_overlap = 0.5;
  const double scatter = 3.0 / 4 * 4 * step.weights() / 1e4;
  const double gather = 3.0 / 4 * 2 * step.weights() / 1e4;
  const double forward = 0.25 + 8 * 1 + 2, half = 8 * 1 + 2;
  ASSERT_GT(gather, forward);
  ChunkCost chunk = step.cost().chunks[0];
  EXPECT_DOUBLE_EQ(chunk.forward.data_comm, gather - 0.5 * forward);
  EXPECT_DOUBLE_EQ(chunk.backward_input.data_comm, gather + scatter - 0.5 * (half + half));

  // Where backward is split, the weights are for its first half and the gradients of its second.
  step.layout.schedule = ScheduleKind::zb_h1;
  chunk = step.cost().chunks[0];
  EXPECT_DOUBLE_EQ(chunk.backward_input.data_comm, gather - 0.5 * half);
  EXPECT_DOUBLE_EQ(chunk.backward_weight.data_comm, scatter - 0.5 * half);
}

TEST(StepCost, TheEndsOfAPipelineSumTheGradientOfATiedTable) {
  Step step;
  step.layout.pipeline_parallel = 8;  // two of its ranks to a node
  step.layout.tensor_parallel = 2;
  const auto reduce_s = [&](int rank) { return step.cost().ranks[rank].reduce_s; };
  EXPECT_EQ(reduce_s(0), 0);
  step.job.model.tied_embeddings = true;
  const double table = 256 / 2 * 64;
  const double seconds = 2 * 1.0 / 2 * 4 * table / 1e9;  // its ends lie on two nodes
  EXPECT_DOUBLE_EQ(reduce_s(0), seconds);
  EXPECT_DOUBLE_EQ(reduce_s(7), seconds);
  for (int rank = 1; rank < 7; ++rank) EXPECT_EQ(reduce_s(rank), 0);

  step.layout.pipeline_parallel = 1;
  EXPECT_EQ(reduce_s(0), 0);  // one copy

  // Each data rank sums what it owns of the table.
  step.layout = {.tensor_parallel = 1, .pipeline_parallel = 2, .data_parallel = 2};
  step.layout.zero_stage = 0;
  const double whole = reduce_s(0);
  step.job.model.tied_embeddings = false;
  const double untied = reduce_s(0);
  step.job.model.tied_embeddings = true;
  step.layout.zero_stage = 1;
  const double shards = reduce_s(0);
  step.job.model.tied_embeddings = false;
  EXPECT_NEAR(shards - reduce_s(0), (whole - untied) / 2, 1e-12);
}

TEST(StepCost, HybridShardsStayInTheNodeAndReplicasSumTheirShare) {
  Step step;
  step.layout.data_parallel = 8;
  step.layout.zero_stage = 1;
  step.layout.zero_group = 4;
  const double gradients = 4 * step.weights();
  EXPECT_DOUBLE_EQ(step.cost().ranks[0].reduce_s,
                   3.0 / 4 * gradients / 10e9               // scattered in a node
                       + 2 * 1.0 / 2 * gradients / 4 / 1e9  // a quarter summed over two nodes
  );
  EXPECT_DOUBLE_EQ(step.cost().ranks[0].gather_s, 3.0 / 4 * 2 * step.weights() / 10e9);
}

TEST(StepCost, ReductionHidesBehindTheLastBackward) {
  Step step;
  step.layout.data_parallel = 4;
  step.cluster.intra_node.bandwidth = 1e4;
  const double all = step.cost().ranks[0].reduce_s;
  const double last_backward = 8 * (1 + 1) + (2 + 2);
  ASSERT_GT(all, last_backward);

  step.profile.data_parallel_overlap = 0.5;
  StepCost cost = step.cost();
  EXPECT_DOUBLE_EQ(cost.ranks[0].reduce_hidden_s, 0.5 * last_backward);
  EXPECT_DOUBLE_EQ(cost.ranks[0].reduce_s, all - 0.5 * last_backward);

  step.layout.overlap_data_parallel = false;
  cost = step.cost();
  EXPECT_EQ(cost.ranks[0].reduce_hidden_s, 0);
  EXPECT_DOUBLE_EQ(cost.ranks[0].reduce_s, all);
}

TEST(StepCost, UpdatedWeightsAreGatheredBehindAForwardPassWhereTheFrameworkSaysSo) {
  Step step;
  step.layout.data_parallel = 4;
  step.layout.zero_stage = 1;
  step.cluster.intra_node.bandwidth = 1e4;
  step.profile.data_parallel_overlap = 0.5;
  const double all = step.cost().ranks[0].gather_s;
  const double forward = 0.25 + 8 * 1 + 2;
  ASSERT_GT(all, 0.5 * forward);
  EXPECT_EQ(step.cost().ranks[0].gather_hidden_s, 0);

  step.profile.defaults.weight_gathering_behind_forward = true;
  EXPECT_DOUBLE_EQ(step.cost().ranks[0].gather_hidden_s, 0.5 * forward);
  EXPECT_DOUBLE_EQ(step.cost().ranks[0].gather_s, all - 0.5 * forward);

  step.cluster.intra_node.bandwidth *= 4 * all / forward;
  EXPECT_DOUBLE_EQ(step.cost().ranks[0].gather_hidden_s, 0.25 * forward);
  EXPECT_EQ(step.cost().ranks[0].gather_s, 0);

  step.layout.overlap_data_parallel = false;
  EXPECT_EQ(step.cost().ranks[0].gather_hidden_s, 0);
  EXPECT_DOUBLE_EQ(step.cost().ranks[0].gather_s, 0.25 * forward);
}

TEST(StepCost, TheOptimizerIsBoundByMemory) {
  Step step;
  step.profile.optimizer = 0.5;
  // Gradients three times; master weights and two moments, fp32, read and written; weights written.
  const double bytes = (3 * 4 + 2 * 12 + 2) * step.weights();
  EXPECT_DOUBLE_EQ(step.cost().ranks[0].optimizer_s, bytes / (0.5 * 1e11));

  // fp32 weights are their own master copy: read and written.
  step.layout.precision = Precision::fp32;
  EXPECT_DOUBLE_EQ(step.cost().ranks[0].optimizer_s,
                   (3 * 4 + 2 * 8 + 2 * 4) * step.weights() / (0.5 * 1e11));
}

TEST(StepCost, OffloadedStatesCrossTheHostLink) {
  Step step;
  const double on_device = step.cost().ranks[0].optimizer_s;
  step.layout.offload.optimizer = true;
  step.profile.host_link = 0.5;
  EXPECT_GE(step.cost().ranks[0].optimizer_s, on_device + 12 * step.weights() / (0.5 * 1e9));

  step.layout.offload = {.activations = true};
  const StepCost cost = step.cost();
  const double transfer = (8 * 100 + 30) / (0.5 * 1e9);
  EXPECT_DOUBLE_EQ(cost.chunks[0].forward.host_link, transfer);
  EXPECT_DOUBLE_EQ(cost.chunks[0].backward_input.host_link, transfer);
  EXPECT_EQ(cost.chunks[0].forward.data_comm, 0);
  EXPECT_EQ(cost.chunks[0].backward_weight.host_link, 0);
  EXPECT_DOUBLE_EQ(cost.chunks[0].layer_kept_bytes, 100);

  // A split backward needs them twice.
  step.layout.schedule = ScheduleKind::zb_h1;
  EXPECT_DOUBLE_EQ(step.cost().chunks[0].backward_weight.host_link, transfer);
}

TEST(StepCost, OffloadedStatesHideBehindAForwardPassWhereTheFrameworkSaysSo) {
  Step step;
  const double on_device = step.cost().ranks[0].optimizer_s;
  step.layout.offload.optimizer = true;
  step.profile.host_link = 0.5;
  step.profile.defaults.offloaded_update_behind_forward = true;
  const double copies = 12 * step.weights() / (0.5 * 1e9);
  const double forward = 0.25 + 8 * 1 + 2;
  ASSERT_LT(copies, forward);
  EXPECT_DOUBLE_EQ(step.cost().ranks[0].optimizer_s, on_device);

  // A link of which they need three times as long as the pass takes.
  step.cluster.host_link_bandwidth *= copies / (3 * forward);
  EXPECT_DOUBLE_EQ(step.cost().ranks[0].optimizer_s, on_device + 2 * forward);

  // Of interleaved stages, a pass through each.
  step.layout.pipeline_parallel = 2;
  step.layout.virtual_stages_per_rank = 2;
  const StepCost interleaved = step.cost();
  step.profile.defaults.offloaded_update_behind_forward = false;
  const StepCost at_the_end = step.cost();
  for (int rank = 0; rank < 2; ++rank) {
    const double passes =
        interleaved.chunks[rank].forward.total() + interleaved.chunks[2 + rank].forward.total();
    EXPECT_NEAR(interleaved.ranks[rank].optimizer_s, at_the_end.ranks[rank].optimizer_s - passes,
                1e-9 * passes);
  }
}

TEST(StepCost, TheFixedTimeIsTheProfiles) {
  Step step;
  step.profile.step_s = 3;
  EXPECT_EQ(step.cost().fixed_s, 3);
}

TEST(PieceCosts, CountTheJobsLayerOnThisMachine) {
  Step step;
  step.layout.micro_batch_size = 2;
  step.layout.tensor_parallel = 2;
  const PieceCosts pieces = piece_costs(step.job, step.layout, step.cluster, step.profile);
  const double weights = 64 * 3 * 64 + 64 * 64 + 3 * 64 * 96;
  EXPECT_DOUBLE_EQ(pieces.layer.forward.matmul, 2 * (2 * 32) * weights / 2 / 1e12);
  EXPECT_DOUBLE_EQ(pieces.layer.forward.tensor_comm,
                   2 * (2 * 1.0 / 2 * 2 * (2 * 32) * 64) / 10e9);  // two all-reduces of 2 b s h
  EXPECT_DOUBLE_EQ(pieces.head.forward.matmul, 2 * (2 * 32) * 64 * 256.0 / 2 / 1e12);
  EXPECT_DOUBLE_EQ(pieces.boundary_bytes, 2 * (2 * 32) * 64);
}

TEST(PieceCosts, TheHeadIsComputedAgainWhereTheFrameworkSaysSo) {
  Step step;
  step.profile.recompute_overhead = 1;
  const auto head = [&] {
    return piece_costs(step.job, step.layout, step.cluster, step.profile).head;
  };
  const double once = head().backward_input.total();
  step.layout.recompute = Recompute::full;
  EXPECT_DOUBLE_EQ(head().backward_input.total(), once);
  step.profile.defaults.recompute_head = true;
  EXPECT_DOUBLE_EQ(head().backward_input.total(), once + head().forward.total());
}

}  // namespace
}  // namespace kumihimo
