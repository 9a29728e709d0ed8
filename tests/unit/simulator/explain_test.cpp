#include "simulator/explain.hpp"

#include <gtest/gtest.h>
#include <random>

#include "step_example.hpp"

namespace kumihimo {
namespace {

using testing_example::play;
using testing_example::uniform_cost;

TEST(Explain, OneRankWithoutPipelineNeverWaits) {
  StepCost cost = uniform_cost(1, 1, 4);
  cost.ranks[0].reduce_s = 0.5;
  cost.ranks[0].reduce_hidden_s = 0.75;
  cost.ranks[0].gather_hidden_s = 0.375;
  cost.ranks[0].optimizer_s = 0.25;
  cost.ranks[0].gather_s = 0.125;
  cost.fixed_s = 2;
  const auto schedule = make_schedule(ScheduleKind::one_forward_one_backward, 1, 1, 4);
  const SimulatedStep played = play(*schedule, cost);
  const StepBreakdown parts = break_down(cost, played.step_s);
  EXPECT_DOUBLE_EQ(parts.matmul_s, 4 * (0.75 + 1 + 1));
  EXPECT_DOUBLE_EQ(parts.tensor_comm_s, 4 * 0.25);
  EXPECT_DOUBLE_EQ(parts.data_comm_s, 0.5 + 0.125);
  EXPECT_DOUBLE_EQ(parts.optimizer_s, 0.25);
  EXPECT_DOUBLE_EQ(parts.fixed_s, 2);
  EXPECT_NEAR(parts.bubble_s, 0, 1e-12);
  EXPECT_DOUBLE_EQ(parts.hidden_reduce_s, 0.75);
  EXPECT_DOUBLE_EQ(parts.hidden_gather_s, 0.375);
}

TEST(Explain, BubbleOfAUniformPipelineIsItsFillAndDrain) {
  // 1F1B, 4 ranks, 8 micro-batches of 1 s forward and 2 s backward: (4 - 1) x (1 + 2) s idle.
  const StepCost cost = uniform_cost(4, 1, 8);
  const auto schedule = make_schedule(ScheduleKind::one_forward_one_backward, 4, 1, 8);
  const SimulatedStep played = play(*schedule, cost);
  EXPECT_NEAR(break_down(cost, played.step_s).bubble_s, 3 * 3, 1e-9);
}

TEST(Explain, LooksAtTheBusiestRank) {
  StepCost cost = uniform_cost(4, 1, 8);
  cost.chunks[2].forward.matmul += 1;
  cost.chunks[2].forward_s += 1;
  const auto schedule = make_schedule(ScheduleKind::one_forward_one_backward, 4, 1, 8);
  const SimulatedStep played = play(*schedule, cost);
  EXPECT_EQ(break_down(cost, played.step_s).pipeline_rank, 2);
}

TEST(Explain, NamesTheResourceOfTheLargestShare) {
  StepBreakdown parts;
  parts.matmul_s = 3;
  parts.tensor_comm_s = 2;
  parts.data_comm_s = 3;
  parts.bubble_s = 2;
  const Binding binding = binding_resource(parts);
  EXPECT_EQ(binding.resource, Resource::network);
  EXPECT_DOUBLE_EQ(binding.share, (2.0 + 3.0) / 10.0);
}

TEST(Explain, CopiesOfWhatIsOffloadedAreTheHostLinks) {
  StepCost cost = uniform_cost(1, 1, 4);
  cost.chunks[0].forward.host_link += 8;
  cost.chunks[0].forward_s += 8;
  const auto schedule = make_schedule(ScheduleKind::one_forward_one_backward, 1, 1, 4);
  const StepBreakdown parts = break_down(cost, play(*schedule, cost).step_s);
  EXPECT_DOUBLE_EQ(parts.host_link_s, 4 * 8);
  EXPECT_DOUBLE_EQ(parts.data_comm_s, 0);
  EXPECT_EQ(binding_resource(parts).resource, Resource::host_link);
}

PassTime random_pass(std::mt19937& random) {
  std::uniform_real_distribution<double> seconds(0, 1);
  PassTime pass;
  for (double PassTime::*part :
       {&PassTime::matmul, &PassTime::attention, &PassTime::norm, &PassTime::elementwise,
        &PassTime::tensor_comm, &PassTime::context_comm, &PassTime::pipeline_comm,
        &PassTime::data_comm, &PassTime::host_link, &PassTime::host, &PassTime::hidden}) {
    pass.*part = seconds(random);
  }
  return pass;
}

TEST(ExplainProperty, PartsAddUpToTheStepAndNoneIsNegative) {
  struct Shape {
    ScheduleKind kind;
    int ranks, chunks, micro_batches;
  };
  std::mt19937 random(7);
  std::uniform_real_distribution<double> seconds(0, 1);
  for (const Shape& shape :
       {Shape{ScheduleKind::gpipe, 3, 1, 5}, Shape{ScheduleKind::one_forward_one_backward, 1, 1, 1},
        Shape{ScheduleKind::one_forward_one_backward, 5, 1, 3},
        Shape{ScheduleKind::interleaved, 4, 3, 8}, Shape{ScheduleKind::zb_h1, 4, 1, 9}}) {
    const auto schedule = make_schedule(shape.kind, shape.ranks, shape.chunks, shape.micro_batches);
    for (int round = 0; round < 50; ++round) {
      StepCost cost = uniform_cost(shape.ranks, shape.chunks, shape.micro_batches);
      for (ChunkCost& chunk : cost.chunks) {
        chunk.forward = random_pass(random);
        chunk.backward_input = random_pass(random);
        chunk.backward_weight = random_pass(random);
        chunk.forward_s = chunk.forward.total();
        chunk.backward_input_s = chunk.backward_input.total();
        chunk.backward_weight_s = chunk.backward_weight.total();
        chunk.message_s = seconds(random);
      }
      for (RankCost& rank : cost.ranks) {
        rank.reduce_s = seconds(random);
        rank.optimizer_s = seconds(random);
        rank.gather_s = seconds(random);
      }
      cost.fixed_s = seconds(random);
      const SimulatedStep played = play(*schedule, cost);
      const StepBreakdown parts = break_down(cost, played.step_s);
      EXPECT_NEAR(parts.total_s(), played.step_s, 1e-9 * played.step_s);
      for (const TimePart& part : parts.parts()) EXPECT_GE(part.seconds, -1e-9) << part.key;
    }
  }
}

}  // namespace
}  // namespace kumihimo
