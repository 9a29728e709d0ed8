// What holds of every prediction, for the shapes, machines and layouts that a user may come with.

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <vector>

#include "layout/layer_split.hpp"
#include "layout/layout_text.hpp"
#include "layout/rank_mapping.hpp"
#include "model/parameters.hpp"
#include "model/sharded_parameters.hpp"
#include "search_cases.hpp"

namespace kumihimo {
namespace {

using testing::SearchCases;

constexpr int rounds = 3000;

/// One random question; the kernels and number formats vary too.
struct Question {
  SearchRequest request;
  ParallelLayout layout;

  explicit Question(SearchCases& cases) : request(cases.request()), layout(cases.layout(request)) {
    layout.attention = cases.one_of<AttentionKernel>(
        {AttentionKernel::unfused, AttentionKernel::fused_softmax, AttentionKernel::flash2});
    if (layout.context_parallel > 1) layout.attention = AttentionKernel::flash2;
    layout.norm = cases.one_of<NormKernel>({NormKernel::unfused, NormKernel::fused});
    layout.precision = cases.one_of<Precision>({Precision::bf16, Precision::fp32});
  }
  Prediction prediction() const {
    return predict(request.job, layout, request.cluster, request.profile);
  }
  StepCost cost() const {
    const PieceCosts pieces = piece_costs(request.job, layout, request.cluster, request.profile);
    return step_cost(pieces, request.job, layout, request.cluster, request.profile);
  }
};

bool is_share(double value) { return value >= 0 && value <= 1; }

TEST(PredictionProperty, EveryFigureIsFiniteAndInItsRange) {
  SearchCases cases(101);
  for (int i = 0; i < rounds; ++i) {
    const Question question(cases);
    SCOPED_TRACE(to_text(question.layout));
    const Prediction prediction = question.prediction();
    ASSERT_TRUE(std::isfinite(prediction.step_s) && prediction.step_s > 0);
    ASSERT_TRUE(std::isfinite(prediction.tokens_per_s_per_device));
    ASSERT_GT(prediction.mfu_causal, 0);
    ASSERT_LT(prediction.mfu_causal, prediction.mfu);
    ASSERT_GE(prediction.hfu, prediction.mfu);
    ASSERT_TRUE(is_share(prediction.bubble_fraction));
    ASSERT_TRUE(is_share(prediction.communication_fraction));
    ASSERT_LE(prediction.bubble_fraction + prediction.communication_fraction, 1 + 1e-9);
    ASSERT_TRUE(is_share(prediction.fits_probability));
    ASSERT_TRUE(std::isfinite(prediction.peak_memory_bytes));
    for (const MemoryUse& use : prediction.memory) {
      for (const double bytes :
           {static_cast<double>(use.weights), static_cast<double>(use.gradients),
            static_cast<double>(use.optimizer), use.activations, use.communication, use.workspace,
            use.context, use.host}) {
        ASSERT_GE(bytes, 0);
      }
      ASSERT_LE(use.total(), prediction.peak_memory_bytes);
    }
  }
}

// The look-up of a table costs no products, though the PaLM count takes it for a matrix: MFU may
// pass 1 for a table larger than all layers. What is executed may not.
TEST(PredictionProperty, NoStepIsShorterThanItsProductsAtThePeak) {
  SearchCases cases(102);
  double most = 0;
  for (int i = 0; i < rounds; ++i) {
    const Question question(cases);
    SCOPED_TRACE(to_text(question.layout));
    const TrainingJob& job = question.request.job;
    const ParameterCount count = count_parameters(job.model);
    const double table = job.model.tied_embeddings ? 0 : static_cast<double>(count.embedding);
    const double norms = static_cast<double>(job.model.layers * count.per_layer_norms +
                                             count.final_norm + count.positions);
    const double counted = model_flops_per_token(job.model, job.seq_length, AttentionCount::causal);
    const Prediction prediction = question.prediction();
    const double executed = prediction.mfu_causal * (counted - 6 * (table + norms)) / counted;
    ASSERT_LT(executed, 1);
    if (4 * table < static_cast<double>(count.total(job.model.layers))) {
      ASSERT_LT(prediction.mfu_causal, 1);
    }
    most = std::max(most, executed);
  }
  EXPECT_GT(most, 0.1);  // or the bound says nothing
}

TEST(PredictionProperty, QuickerKernelsLaunchesAndStartsNeverSlow) {
  SearchCases cases(103);
  int faster = 0;
  for (int i = 0; i < rounds; ++i) {
    Question question(cases);
    SCOPED_TRACE(to_text(question.layout));
    const double before = question.prediction().step_s;
    for (double StackProfile::*seconds :
         {&StackProfile::kernel_s, &StackProfile::launch_s, &StackProfile::collective_launch_s,
          &StackProfile::busy_hop_s, &StackProfile::collective_s, &StackProfile::hop_s,
          &StackProfile::node_hop_s, &StackProfile::congested_message_s,
          &StackProfile::micro_batch_s, &StackProfile::step_s}) {
      const double usual = question.request.profile.*seconds;
      question.request.profile.*seconds = usual * cases.between(0, 1);
      const double after = question.prediction().step_s;
      ASSERT_LE(after, before * (1 + 1e-12));
      faster += after < before;
      question.request.profile.*seconds = usual;
    }
  }
  EXPECT_GT(faster, rounds);
}

TEST(PredictionProperty, HigherSharesOfARateNeverSlow) {
  SearchCases cases(104);
  int faster = 0;
  for (int i = 0; i < rounds; ++i) {
    Question question(cases);
    SCOPED_TRACE(to_text(question.layout));
    const double before = question.prediction().step_s;
    for (double StackProfile::*share :
         {&StackProfile::matmul_fp32, &StackProfile::matmul_16bit, &StackProfile::attention_unfused,
          &StackProfile::attention_fused_softmax, &StackProfile::attention_flash2,
          &StackProfile::attention_backward, &StackProfile::norm_unfused, &StackProfile::norm_fused,
          &StackProfile::elementwise, &StackProfile::loss, &StackProfile::optimizer,
          &StackProfile::intra_node, &StackProfile::inter_node, &StackProfile::point_to_point,
          &StackProfile::host_link, &StackProfile::data_parallel_overlap,
          &StackProfile::tensor_parallel_overlap, &StackProfile::tensor_backward_overlap}) {
      const double usual = question.request.profile.*share;
      question.request.profile.*share = usual + (1 - usual) * cases.between(0, 1);
      const double after = question.prediction().step_s;
      ASSERT_LE(after, before * (1 + 1e-12));
      faster += after < before;
      question.request.profile.*share = usual;
    }
  }
  EXPECT_GT(faster, rounds);
}

// Were a rate read as seconds, or a bit as a byte, this would not hold.
TEST(PredictionProperty, AMachineTwiceAsFastInEverythingHalvesTheStep) {
  SearchCases cases(105);
  for (int i = 0; i < rounds; ++i) {
    const Question slow(cases);
    SCOPED_TRACE(to_text(slow.layout));
    Question fast = slow;
    Cluster& cluster = fast.request.cluster;
    for (double& peak : cluster.device.peak_flop_per_s) peak *= 2;
    for (double& rate : cluster.device.achievable_flop_per_s) rate *= 2;
    for (double* rate :
         {&cluster.device.memory_bandwidth, &cluster.intra_node.bandwidth,
          &cluster.inter_node.bandwidth, &cluster.nic_bandwidth, &cluster.host_link_bandwidth}) {
      *rate *= 2;
    }
    cluster.intra_node.latency_s /= 2;
    cluster.inter_node.latency_s /= 2;
    for (const ProfileParameter& parameter : profile_parameters()) {
      if (parameter.key.starts_with("seconds.")) fast.request.profile.*parameter.member /= 2;
    }
    const Prediction before = slow.prediction(), after = fast.prediction();
    ASSERT_NEAR(after.step_s, before.step_s / 2, 1e-9 * before.step_s);
    ASSERT_NEAR(after.mfu, before.mfu, 1e-9 * before.mfu);
    ASSERT_NEAR(after.bubble_fraction, before.bubble_fraction, 1e-9);
    ASSERT_EQ(after.peak_memory_bytes, before.peak_memory_bytes);
  }
}

TEST(PredictionProperty, OverlapMovesCommunicationAndLosesNone) {
  SearchCases cases(106);
  int moved = 0;
  for (int i = 0; i < rounds; ++i) {
    Question question(cases);
    SCOPED_TRACE(to_text(question.layout));
    question.layout.overlap_data_parallel = question.layout.overlap_tensor_parallel = false;
    const StepCost apart = question.cost();
    const double exposed_step = question.prediction().step_s;
    question.layout.overlap_data_parallel = question.layout.overlap_tensor_parallel = true;
    const StepCost beside = question.cost();
    ASSERT_LE(question.prediction().step_s, exposed_step * (1 + 1e-12));

    const auto whole = [](const PassTime& pass) {
      return pass.tensor_comm + pass.context_comm + pass.data_comm + pass.host_link + pass.hidden;
    };
    for (std::size_t chunk = 0; chunk < apart.chunks.size(); ++chunk) {
      for (const auto pass :
           {&ChunkCost::forward, &ChunkCost::backward_input, &ChunkCost::backward_weight}) {
        const PassTime &before = apart.chunks[chunk].*pass, &after = beside.chunks[chunk].*pass;
        ASSERT_NEAR(whole(before), whole(after), 1e-9 * whole(before));
        ASSERT_GE(after.hidden, before.hidden * (1 - 1e-12));
        moved += after.hidden > before.hidden;
      }
    }
    for (std::size_t rank = 0; rank < apart.ranks.size(); ++rank) {
      const RankCost &before = apart.ranks[rank], &after = beside.ranks[rank];
      ASSERT_NEAR(before.reduce_s + before.reduce_hidden_s, after.reduce_s + after.reduce_hidden_s,
                  1e-9 * before.reduce_s);
      ASSERT_EQ(before.reduce_hidden_s, 0);
    }
  }
  EXPECT_GT(moved, rounds);
}

TEST(PredictionProperty, AStepIsAtLeastTheWorkOfItsBusiestRank) {
  SearchCases cases(107);
  for (int i = 0; i < rounds; ++i) {
    const Question question(cases);
    SCOPED_TRACE(to_text(question.layout));
    const StepCost cost = question.cost();
    const std::size_t ranks = cost.ranks.size();
    double busiest = 0, everything = 0;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      double work = 0;
      for (std::size_t chunk = rank; chunk < cost.chunks.size(); chunk += ranks) {
        const ChunkCost& of = cost.chunks[chunk];
        work += of.forward_s + of.backward_input_s + of.backward_weight_s;
        everything += 2 * of.message_s * static_cast<double>(cost.num_micro_batches);
      }
      work *= static_cast<double>(cost.num_micro_batches);
      everything += work + cost.ranks[rank].reduce_s + cost.ranks[rank].optimizer_s +
                    cost.ranks[rank].gather_s;
      busiest = std::max(busiest, work + cost.ranks[rank].reduce_s);
    }
    const double step = question.prediction().step_s - cost.fixed_s;
    ASSERT_GE(step, busiest * (1 - 1e-12));
    ASSERT_LE(step, everything * (1 + 1e-12));  // as if the ranks took turns
  }
}

TEST(PredictionProperty, AJobWithinANodeDoesNotDependOnTheNetworkAndAPipelineAcrossNodesDoes) {
  SearchCases cases(113);
  int within = 0, across = 0;
  for (int i = 0; i < rounds; ++i) {
    Question question(cases);
    SCOPED_TRACE(to_text(question.layout));
    question.request.profile.point_to_point_overlap = 0;
    const double before = question.prediction().step_s;
    question.request.cluster.inter_node = {1e6, 1e-2};
    const double after = question.prediction().step_s;
    if (question.layout.devices() <= question.request.cluster.devices_per_node) {
      ASSERT_EQ(before, after);
      ++within;
    } else if (question.layout.pipeline_parallel > 1) {
      ASSERT_GT(after, before);
      ++across;
    }
  }
  EXPECT_GT(within, 200);
  EXPECT_GT(across, 200);
}

/// Each direction of the host link is one: what is offloaded together takes turns on it.
TEST(PredictionProperty, AStepIsAtLeastTheBytesThatCrossTheHostLinkInOneDirection) {
  SearchCases cases(114);
  int bound_by_it = 0;
  for (int i = 0; i < rounds; ++i) {
    Question question(cases);
    question.layout.offload = {.activations = true, .weights = true};
    question.request.cluster.host_link_bandwidth = 1e9;
    question.request.profile.data_parallel_overlap = 1;
    SCOPED_TRACE(to_text(question.layout));
    const StepCost cost = question.cost();
    const double bandwidth = 1e9 * question.request.profile.host_link;
    const std::vector<int> layers = stage_layers(question.layout, question.request.job);
    const double per_layer = static_cast<double>(
        layer_parameters(question.request.job.model, question.layout.tensor_parallel));
    const int shards = question.layout.zero_stage < 3 ? 1
                       : question.layout.zero_group > 0
                           ? question.layout.zero_group
                           : question.layout.data_parallel * question.layout.context_parallel;
    for (std::size_t stage = 0; stage < cost.chunks.size(); ++stage) {
      const double weights = 2 * layers[stage] * per_layer / shards;
      const double in_s = (cost.chunks[stage].kept_bytes + weights) / bandwidth;
      // Only a backward that is split has them all in by the end of its first half.
      const bool split = question.layout.schedule == ScheduleKind::zb_h1;
      const double backward_s = cost.chunks[stage].backward_input.total() +
                                (split ? 0 : cost.chunks[stage].backward_weight.total());
      ASSERT_GE(backward_s, in_s * (1 - 1e-12));
      bound_by_it += cost.chunks[stage].backward_input.host_link > 0;
    }
  }
  EXPECT_GT(bound_by_it, 1000);
}

/// Copies of offloaded states and gathering of weights that hide make a step shorter, by no more
/// than they take.
TEST(PredictionProperty, WhatHidesBehindTheNextForwardPassTakesNoLongerThanInFrontOfIt) {
  SearchCases cases(112);
  int hid = 0;
  for (int i = 0; i < rounds; ++i) {
    Question question(cases);
    question.layout.offload.optimizer = true;
    SCOPED_TRACE(to_text(question.layout));
    FrameworkDefaults& defaults = question.request.profile.defaults;
    defaults.offloaded_update_behind_forward = defaults.weight_gathering_behind_forward = false;
    const StepCost in_front = question.cost();
    const double in_front_s = question.prediction().step_s;
    defaults.offloaded_update_behind_forward = defaults.weight_gathering_behind_forward = true;
    const StepCost behind = question.cost();
    const double behind_s = question.prediction().step_s;
    question.layout.offload.optimizer = false;
    const StepCost on_device = question.cost();
    ASSERT_LE(behind_s, in_front_s * (1 + 1e-12));
    hid += behind_s < in_front_s ? 1 : 0;
    for (std::size_t rank = 0; rank < behind.ranks.size(); ++rank) {
      const RankCost& own = behind.ranks[rank];
      ASSERT_LE(own.optimizer_s, in_front.ranks[rank].optimizer_s);
      ASSERT_GE(own.optimizer_s, on_device.ranks[rank].optimizer_s);
      ASSERT_NEAR(own.gather_s + own.gather_hidden_s, in_front.ranks[rank].gather_s,
                  1e-9 * in_front.ranks[rank].gather_s);
    }
  }
  EXPECT_GT(hid, rounds / 4);
}

TEST(PredictionProperty, EachZeroStageHoldsNoMoreStatesThanTheOneBefore) {
  SearchCases cases(108);
  for (int i = 0; i < rounds; ++i) {
    Question question(cases);
    SCOPED_TRACE(to_text(question.layout));
    question.layout.offload = {};
    std::vector<Bytes> before(static_cast<std::size_t>(question.layout.pipeline_parallel),
                              std::numeric_limits<Bytes>::max());
    for (const int stage : {0, 1, 2, 3}) {
      question.layout.zero_stage = stage;
      const StepCost cost = question.cost();
      for (std::size_t rank = 0; rank < cost.ranks.size(); ++rank) {
        const MemoryUse& states = cost.ranks[rank].states;
        const Bytes held = states.weights + states.gradients + states.optimizer;
        ASSERT_LE(held, before[rank]) << "ZeRO " << stage;
        before[rank] = held;
      }
    }
  }
}

TEST(PredictionProperty, RecomputationKeepsLessAndTakesLonger) {
  SearchCases cases(109);
  for (int i = 0; i < rounds; ++i) {
    Question question(cases);
    SCOPED_TRACE(to_text(question.layout));
    question.layout.offload = {};
    double step = 0, kept = std::numeric_limits<double>::infinity();
    for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
      question.layout.recompute = recompute;
      const Prediction prediction = question.prediction();
      ASSERT_GE(prediction.step_s, step * (1 - 1e-12));
      ASSERT_LE(prediction.memory[0].activations, kept);
      step = prediction.step_s;
      kept = prediction.memory[0].activations;
    }
  }
}

TEST(PredictionProperty, ShardsOfAllRanksAddUpToTheStates) {
  SearchCases cases(110);
  for (int i = 0; i < rounds; ++i) {
    Question question(cases);
    question.layout.offload = {};
    question.layout.zero_stage = std::max(1, question.layout.zero_stage);
    SCOPED_TRACE(to_text(question.layout));
    const std::int64_t shards = zero_shard_group(question.layout).size;
    const StepCost divided = question.cost();
    question.layout.zero_stage = 0;
    const StepCost whole = question.cost();
    for (std::size_t rank = 0; rank < whole.ranks.size(); ++rank) {
      const Bytes all = whole.ranks[rank].states.optimizer;
      const Bytes share = divided.ranks[rank].states.optimizer;
      ASSERT_GE(share * shards, all);
      // One padded parameter a shard and unit at most; units are layers, table, norm and head.
      ASSERT_LE(share * shards, all + 12 * shards * (question.request.job.model.layers + 3));
    }
  }
}

}  // namespace
}  // namespace kumihimo
