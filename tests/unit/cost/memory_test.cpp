#include <gtest/gtest.h>

#include "cost/peak_memory.hpp"
#include "model/sharded_parameters.hpp"
#include "schedule/schedule.hpp"
#include "support/round_machine.hpp"

namespace kumihimo {
namespace {

using testing::ideal_profile;
using testing::round_cluster;
using testing::small_job;

struct Example {
  TrainingJob job = small_job();
  ParallelLayout layout;
  StackProfile profile = ideal_profile();

  StepCost cost() const {
    const Cluster cluster = round_cluster();
    return step_cost(piece_costs(job, layout, cluster, profile), job, layout, cluster, profile);
  }
  MemoryUse states(int rank = 0) const { return cost().ranks[rank].states; }
};

// 8 layers, the table, the final norm and the head, undivided.
const Bytes weights = 8 * (64 * 3 * 64 + 64 * 64 + 3 * 64 * 96 + 2 * 64) + 256 * 64 + 64 + 256 * 64;

TEST(StateBytes, SixteenBitWeightsHaveFp32GradientsAndStates) {
  Example example;
  const MemoryUse use = example.states();
  EXPECT_EQ(use.weights, 2 * weights);
  EXPECT_EQ(use.gradients, 4 * weights);
  EXPECT_EQ(use.optimizer, (4 + 4 + 4) * weights);  // master copy and two moments

  example.layout.gradient_dtype = Precision::bf16;
  EXPECT_EQ(example.states().gradients, 2 * weights);
}

TEST(StateBytes, Fp32WeightsNeedNoMasterCopy) {
  Example example;
  example.layout.precision = Precision::fp32;
  const MemoryUse use = example.states();
  EXPECT_EQ(use.weights, 4 * weights);
  EXPECT_EQ(use.gradients, 4 * weights);
  EXPECT_EQ(use.optimizer, (4 + 4) * weights);
}

TEST(StateBytes, EachZeroStageDividesOneStateMore) {
  Example example;
  example.layout.data_parallel = 4;
  ASSERT_EQ(weights % 4, 0);
  const Bytes quarter = weights / 4;
  for (int stage = 0; stage <= 3; ++stage) {
    example.layout.zero_stage = stage;
    const MemoryUse use = example.states();
    EXPECT_EQ(use.optimizer, 12 * (stage >= 1 ? quarter : weights)) << stage;
    EXPECT_EQ(use.gradients, 4 * (stage >= 2 ? quarter : weights)) << stage;
    EXPECT_EQ(use.weights, 2 * (stage >= 3 ? quarter : weights)) << stage;
  }
  EXPECT_GT(example.states().communication, 0);  // gathered layers
}

TEST(StateBytes, EachPieceThatDoesNotDivideIsPadded) {
  Example example;
  example.layout.data_parallel = 7;
  example.layout.zero_stage = 1;
  const Bytes layer = 64 * 3 * 64 + 64 * 64 + 3 * 64 * 96 + 2 * 64, table = 256 * 64, norm = 64;
  const Bytes shard = 8 * ((layer + 6) / 7) + 2 * ((table + 6) / 7) + (norm + 6) / 7;
  EXPECT_EQ(example.states().optimizer, 12 * shard);
  EXPECT_EQ(example.states().gradients, 4 * 7 * shard);
}

TEST(StateBytes, AHybridGroupSharesAmongFewer) {
  Example example;
  example.layout.data_parallel = 8;
  example.layout.zero_stage = 3;
  example.layout.zero_group = 2;
  EXPECT_EQ(example.states().weights, 2 * (weights / 2));
  EXPECT_EQ(example.states().optimizer, 12 * (weights / 2));
}

TEST(StateBytes, ContextParallelRanksShareToo) {
  Example example;
  example.layout.context_parallel = 2;
  example.layout.data_parallel = 4;
  example.layout.zero_stage = 1;
  EXPECT_EQ(example.states().optimizer, 12 * (weights / 8));
  example.layout.zero_group = 4;  // of the eight ranks of data x context
  EXPECT_EQ(example.states().optimizer, 12 * (weights / 4));
}

TEST(StateBytes, EachPipelineRankHoldsItsLayersAndTheEnds) {
  Example example;
  example.layout.pipeline_parallel = 4;
  const Bytes layer = layer_parameters(example.job.model, 1);
  EXPECT_EQ(example.states(0).weights, 2 * (2 * layer + 256 * 64));
  EXPECT_EQ(example.states(1).weights, 2 * (2 * layer));
  EXPECT_EQ(example.states(3).weights, 2 * (2 * layer + 64 + 256 * 64));

  example.layout.layer_split = {1, 3, 3, 1};
  EXPECT_EQ(example.states(1).weights, 2 * (3 * layer));
}

TEST(StateBytes, ATiedTableIsHeldAtBothEndsOfAPipeline) {
  Example example;
  example.job.model.tied_embeddings = true;
  EXPECT_EQ(example.states().weights, 2 * (weights - 256 * 64));
  example.layout.pipeline_parallel = 2;
  EXPECT_EQ(example.states(0).weights + example.states(1).weights, 2 * weights);
}

TEST(StateBytes, VocabularyIsPaddedToDivide) {
  Example example;
  example.job.model.vocab = 250;
  example.job.vocab_multiple = 128;
  example.layout.tensor_parallel = 2;
  const Bytes rows = 256 / 2;  // on each rank
  EXPECT_EQ(example.states().weights,
            2 * (8 * layer_parameters(example.job.model, 2) + rows * 64 + 64 + rows * 64));
}

TEST(StateBytes, OffloadMovesThemToTheHost) {
  Example example;
  example.layout.offload = {.optimizer = true};
  ASSERT_LT(weights, offload_portion);
  EXPECT_EQ(example.states().optimizer, 12 * weights);  // what passes is all of so small a model
  EXPECT_EQ(example.states().host, 12 * weights);
  EXPECT_EQ(example.states().weights, 2 * weights);

  example.layout.offload = {.optimizer = true, .weights = true};
  EXPECT_EQ(example.states().weights, 0);
  EXPECT_EQ(example.states().host, (12 + 2) * weights);
  EXPECT_GT(example.states().communication, 0);
}

/// Stages that keep 100 bytes of each micro-batch in flight and work with 7.
struct Pipeline {
  ParallelLayout layout;
  StackProfile profile = ideal_profile();
  StepCost step;

  Pipeline(int ranks, int chunks_per_rank) {
    layout.pipeline_parallel = ranks;
    layout.virtual_stages_per_rank = chunks_per_rank;
    step.ranks.resize(ranks);
    step.chunks.resize(ranks * chunks_per_rank);
    for (ChunkCost& chunk : step.chunks) {
      chunk.kept_bytes = 100;
      chunk.working_bytes = 7;
    }
  }
  std::vector<MemoryUse> peak(ScheduleKind kind, int micro_batches) {
    layout.schedule = kind;
    step.num_micro_batches = micro_batches;
    return peak_memory(step, held_bytes(step, layout), layout, profile);
  }
};

TEST(PeakMemory, EarlyRanksOfOneForwardOneBackwardHoldMore) {
  const auto use = Pipeline(4, 1).peak(ScheduleKind::one_forward_one_backward, 8);
  ASSERT_EQ(use.size(), 4u);
  for (int rank = 0; rank < 4; ++rank) EXPECT_DOUBLE_EQ(use[rank].activations, (4 - rank) * 100);
}

TEST(PeakMemory, GpipeHoldsEveryMicroBatch) {
  for (const MemoryUse& use : Pipeline(4, 1).peak(ScheduleKind::gpipe, 8)) {
    EXPECT_DOUBLE_EQ(use.activations, 8 * 100);
  }
}

TEST(PeakMemory, FewerMicroBatchesThanRanksAreAllHeld) {
  EXPECT_DOUBLE_EQ(Pipeline(4, 1).peak(ScheduleKind::one_forward_one_backward, 2)[0].activations,
                   2 * 100);
}

TEST(PeakMemory, UnequalInterleavedChunksCountAtTheFullestMoment) {
  Pipeline pipeline(2, 2);
  pipeline.step.chunks[0].kept_bytes = 300;  // rank 0 holds chunks 0 and 2
  // Rank 0 runs five forwards before its first backward: two of its first chunk, two of its second
  // and one of the next pair's first. The pair's other one comes when one of chunk 2 has gone.
  EXPECT_DOUBLE_EQ(pipeline.peak(ScheduleKind::interleaved, 2)[0].activations, 2 * 300 + 2 * 100);
  EXPECT_DOUBLE_EQ(pipeline.peak(ScheduleKind::interleaved, 8)[0].activations, 4 * 300 + 1 * 100);

  pipeline.step.chunks[0].kept_bytes = 100;
  pipeline.step.chunks[2].kept_bytes = 300;
  EXPECT_DOUBLE_EQ(pipeline.peak(ScheduleKind::interleaved, 8)[0].activations, 3 * 100 + 2 * 300);
}

TEST(PeakMemory, FactorsOfTheProfileApply) {
  Pipeline pipeline(1, 1);
  pipeline.profile.activation_factor = 1.5;
  pipeline.profile.context_gib = 2;
  pipeline.profile.allocator_overhead = 0.1;
  pipeline.step.ranks[0].states.weights = 1000;
  const MemoryUse use = pipeline.peak(ScheduleKind::one_forward_one_backward, 8)[0];
  EXPECT_DOUBLE_EQ(use.activations, 1.5 * 100);
  EXPECT_DOUBLE_EQ(use.workspace, 7);
  EXPECT_DOUBLE_EQ(use.context, 2 * GiB + 0.1 * (1.5 * 100 + 7));
  EXPECT_DOUBLE_EQ(use.total(), 1000 + use.activations + use.workspace + use.context);
}

TEST(PeakMemory, TheWorkspaceIsThatOfTheLargestChunk) {
  Pipeline pipeline(2, 2);
  pipeline.step.chunks[2].working_bytes = 50;
  const auto use = pipeline.peak(ScheduleKind::interleaved, 8);
  EXPECT_DOUBLE_EQ(use[0].workspace, 50);
  EXPECT_DOUBLE_EQ(use[1].workspace, 7);
}

TEST(PeakMemory, OffloadedActivationsLieOnTheHostButForThoseOnTheWay) {
  Pipeline pipeline(4, 1);
  pipeline.layout.offload.activations = true;
  pipeline.profile.activation_factor = 1.5;
  for (ChunkCost& chunk : pipeline.step.chunks) chunk.layer_kept_bytes = 10;
  const auto use = pipeline.peak(ScheduleKind::one_forward_one_backward, 8);
  EXPECT_DOUBLE_EQ(use[0].host, 4 * 100);
  // The layer in use and the one that is being copied, however many micro-batches are in flight.
  for (const MemoryUse& rank : use) EXPECT_DOUBLE_EQ(rank.activations, 1.5 * 2 * 10);

  // A stage of one layer holds no more than without.
  for (ChunkCost& chunk : pipeline.step.chunks) chunk.layer_kept_bytes = 100;
  const auto one_layer = pipeline.peak(ScheduleKind::one_forward_one_backward, 8);
  EXPECT_DOUBLE_EQ(one_layer[0].activations, 1.5 * 2 * 100);
  EXPECT_DOUBLE_EQ(one_layer[3].activations, 1.5 * 1 * 100);
}

TEST(PeakMemory, OutputGradientsThatWaitForTheirWeightPassAreNotOffloaded) {
  Pipeline pipeline(4, 1);
  for (ChunkCost& chunk : pipeline.step.chunks) {
    chunk.layer_kept_bytes = 10;
    chunk.pending_bytes = 3;
  }
  pipeline.layout.offload.activations = true;
  const auto use = pipeline.peak(ScheduleKind::zb_h1, 8);
  const int waiting = peak_waiting(ScheduleKind::zb_h1, 8, 3);
  ASSERT_GT(waiting, 0);
  EXPECT_DOUBLE_EQ(use[3].activations, 2 * 10 + 3 * waiting);
}

TEST(MemoryUse, TheHostsShareIsNotTheDevices) {
  const MemoryUse use{.weights = 1,
                      .gradients = 2,
                      .optimizer = 4,
                      .activations = 8,
                      .communication = 16,
                      .workspace = 32,
                      .context = 64,
                      .host = 128};
  EXPECT_EQ(use.total(), 127);
}

}  // namespace
}  // namespace kumihimo
