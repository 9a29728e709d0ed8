#include "simulator/simulate.hpp"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <tuple>

#include "step_example.hpp"

namespace kumihimo {
namespace {

using testing_example::uniform_cost;

Schedule schedule_of(ScheduleKind kind, int ranks, int chunks, int micro_batches) {
  const auto schedule = make_schedule(kind, ranks, chunks, micro_batches);
  EXPECT_TRUE(schedule);
  return *schedule;
}

constexpr ScheduleKind one_f_one_b = ScheduleKind::one_forward_one_backward;

/// Two ranks, three micro-batches: 1 s forward, 2 s backward, half a second from rank to rank.
StepCost two_ranks() {
  StepCost cost = uniform_cost(2, 1, 3);
  cost.chunks[0].message_s = 0.5;
  return cost;
}

const Span& span_of(const SimulatedStep& played, int rank, ActionKind kind, int micro_batch) {
  return *std::ranges::find_if(played.spans, [&](const Span& span) {
    return span.pipeline_rank == rank && span.action.kind == kind &&
           span.action.micro_batch == micro_batch;
  });
}

/// Costs of which no two sums are the same.
StepCost odd_cost(int ranks, int chunks, int micro_batches) {
  StepCost cost = uniform_cost(ranks, chunks, micro_batches);
  for (std::size_t stage = 0; stage < cost.chunks.size(); ++stage) {
    ChunkCost& chunk = cost.chunks[stage];
    const auto s = static_cast<double>(stage);
    chunk.forward_s = 1 + 0.31 * std::sin(3 * s);
    chunk.backward_input_s = 1.1 + 0.27 * std::sin(5 * s + 1);
    chunk.backward_weight_s = 0.9 + 0.23 * std::sin(7 * s + 2);
    chunk.message_s = 0.2 + 0.13 * std::sin(11 * s + 3);
  }
  for (std::size_t rank = 0; rank < cost.ranks.size(); ++rank) {
    cost.ranks[rank].reduce_s = 1 + std::sin(static_cast<double>(rank));
    cost.ranks[rank].optimizer_s = 0.5;
    cost.ranks[rank].gather_s = 0.1 * static_cast<double>(rank);
  }
  cost.fixed_s = 0.25;
  return cost;
}

TEST(Simulate, PlaysOneForwardOneBackwardByHand) {
  const SimulatedStep played =
      simulate(schedule_of(one_f_one_b, 2, 1, 3), two_ranks(), Keep::spans);
  // rank 0: F0 0-1, F1 1-2, waits, B0 5-7,     F2 7-8,     B1 8-10,    waits, B2 12-14
  // rank 1: F0 1.5-2.5, B0 2.5-4.5, F1 4.5-5.5, B1 5.5-7.5, F2 8.5-9.5, B2 9.5-11.5
  ASSERT_EQ(played.spans.size(), 12u);
  const struct {
    int rank;
    ActionKind kind;
    int micro_batch;
    double start_s;
  } expected[] = {{0, ActionKind::forward, 0, 0},   {0, ActionKind::forward, 1, 1},
                  {0, ActionKind::backward, 0, 5},  {0, ActionKind::forward, 2, 7},
                  {0, ActionKind::backward, 1, 8},  {0, ActionKind::backward, 2, 12},
                  {1, ActionKind::forward, 0, 1.5}, {1, ActionKind::backward, 0, 2.5},
                  {1, ActionKind::forward, 1, 4.5}, {1, ActionKind::backward, 1, 5.5},
                  {1, ActionKind::forward, 2, 8.5}, {1, ActionKind::backward, 2, 9.5}};
  for (const auto& [rank, kind, micro_batch, start_s] : expected) {
    const Span& span = span_of(played, rank, kind, micro_batch);
    EXPECT_DOUBLE_EQ(span.start_s, start_s) << "rank " << rank << " micro-batch " << micro_batch;
    EXPECT_DOUBLE_EQ(span.end_s - span.start_s, kind == ActionKind::forward ? 1 : 2);
  }
  EXPECT_EQ(played.end_s, (std::vector<double>{14, 11.5}));
  EXPECT_EQ(played.busy_s, (std::vector<double>{9, 9}));
  EXPECT_EQ(played.pipeline_s, 14);
  EXPECT_EQ(played.step_s, 14);
  EXPECT_DOUBLE_EQ(played.bubble_fraction(), (14 - 9) / 14.0);
}

TEST(Simulate, PlaysGpipeByHand) {
  const SimulatedStep played = simulate(schedule_of(ScheduleKind::gpipe, 2, 1, 3), two_ranks());
  // rank 1: F 1.5-2.5, 2.5-3.5, 3.5-4.5, B 4.5-6.5, 6.5-8.5, 8.5-10.5; rank 0: B 7-9, 9-11, 11-13.
  EXPECT_EQ(played.end_s, (std::vector<double>{13, 10.5}));
}

TEST(Simulate, RanksReduceApartThenUpdateTogether) {
  StepCost cost = two_ranks();
  cost.ranks[0].reduce_s = 1;
  cost.ranks[1].reduce_s = 5;
  cost.ranks[0].optimizer_s = 0.5;
  cost.ranks[0].gather_s = 0.25;
  cost.ranks[1].optimizer_s = 0.5;
  cost.fixed_s = 0.125;
  const SimulatedStep played = simulate(schedule_of(one_f_one_b, 2, 1, 3), cost);
  EXPECT_EQ(played.pipeline_s, 14);
  EXPECT_DOUBLE_EQ(played.step_s,
                   std::max(14 + 1.0, 11.5 + 5.0) + std::max(0.5 + 0.25, 0.5) + 0.125);
  // Idle ranks are those that wait for others in the pipeline: the whole step stays the measure.
  EXPECT_DOUBLE_EQ(played.bubble_fraction(), (14 - 9) / played.step_s);
}

TEST(Simulate, TheSlowestStageSetsThePace) {
  StepCost cost = uniform_cost(2, 1, 10);
  cost.chunks[1].forward_s = 2;
  cost.chunks[1].backward_input_s = cost.chunks[1].backward_weight_s = 2;
  // Rank 1 starts after the first forward and is then never idle; one backward of rank 0 follows.
  const SimulatedStep played = simulate(schedule_of(one_f_one_b, 2, 1, 10), cost);
  EXPECT_DOUBLE_EQ(played.step_s, 1 + 10 * (2 + 4) + 2);
}

TEST(Simulate, OneRankNeverWaits) {
  const SimulatedStep played = simulate(schedule_of(one_f_one_b, 1, 1, 5), uniform_cost(1, 1, 5));
  EXPECT_EQ(played.step_s, 5 * (1 + 2));
  EXPECT_EQ(played.bubble_fraction(), 0);
}

TEST(Simulate, KeepsSpansOnlyIfAsked) {
  EXPECT_TRUE(simulate(schedule_of(one_f_one_b, 2, 1, 3), two_ranks()).spans.empty());
}

// Every pass known and equal: Narayanan et al. 2021, arXiv:2104.04473, section 2.2.
TEST(Simulate, UniformPipelinesTakeTheTimeOfTheFormula) {
  for (const int p : {1, 2, 3, 4, 8}) {
    for (const int m : {1, 2, 5, 8, 32}) {
      SCOPED_TRACE(testing::Message() << p << " ranks, " << m << " micro-batches");
      for (const ScheduleKind kind : {ScheduleKind::gpipe, one_f_one_b}) {
        const SimulatedStep played = simulate(schedule_of(kind, p, 1, m), uniform_cost(p, 1, m));
        EXPECT_DOUBLE_EQ(played.step_s, (m + p - 1) * (1 + 2));
        EXPECT_DOUBLE_EQ(played.bubble_fraction(), (p - 1.0) / (m + p - 1));
      }
    }
  }
}

TEST(Simulate, InterleavingDividesTheBubble) {
  for (const int chunks : {2, 4}) {
    const SimulatedStep played =
        simulate(schedule_of(ScheduleKind::interleaved, 4, chunks, 8), uniform_cost(4, chunks, 8));
    // Chunks of 1 + 2 s each, `chunks` of them a rank; filling and draining cost one chunk a rank.
    EXPECT_DOUBLE_EQ(played.step_s, 8 * chunks * 3 + (4 - 1) * 3);
  }
}

TEST(Simulate, ZeroBubbleFillsTheDrainWithWeightGradients) {
  for (const int p : {2, 4, 8}) {
    const int m = 2 * p;
    const SimulatedStep played =
        simulate(schedule_of(ScheduleKind::zb_h1, p, 1, m), uniform_cost(p, 1, m));
    // (p - 1) (F + B - W) of waiting instead of (p - 1) (F + B + W).
    EXPECT_DOUBLE_EQ(played.step_s, m * 3 + (p - 1) * (1 + 1 - 1));
  }
}

TEST(Simulate, MessagesHoldUpAPipelineThatIsNotFull) {
  const Schedule schedule = schedule_of(one_f_one_b, 4, 1, 1);
  StepCost cost = uniform_cost(4, 1, 1);
  for (int stage = 0; stage < 3; ++stage) cost.chunks[stage].message_s = 0.25;
  // Three forwards on, three gradients back.
  EXPECT_DOUBLE_EQ(simulate(schedule, cost).step_s, 4 * 3 + 6 * 0.25);
}

TEST(CriticalPath, OfOneForwardOneBackwardByHand) {
  const SimulatedStep played = simulate(schedule_of(one_f_one_b, 2, 1, 3), two_ranks(), Keep::path);
  // F0 to rank 1, F0 B0 back to rank 0, B0 F2 to rank 1, F2 B2 back to rank 0, B2.
  ASSERT_EQ(played.path.chunks.size(), 2u);
  EXPECT_EQ(
      played.path.chunks[0],
      (CriticalPath::Uses{.forward = 2, .backward_input = 2, .backward_weight = 2, .message = 4}));
  EXPECT_EQ(
      played.path.chunks[1],
      (CriticalPath::Uses{.forward = 2, .backward_input = 2, .backward_weight = 2, .message = 0}));
  EXPECT_EQ(played.path.last_rank, 0);
  EXPECT_TRUE(simulate(schedule_of(one_f_one_b, 2, 1, 3), two_ranks()).path.chunks.empty());
}

/// Along the path lies the step's time; and with it that of a step whose costs differ a little, or
/// less than it where they differ much.
TEST(CriticalPath, IsTheStepAndItsDerivative) {
  for (const auto& [kind, ranks, chunks, micro_batches] :
       {std::tuple{ScheduleKind::gpipe, 3, 1, 5}, std::tuple{one_f_one_b, 1, 1, 4},
        std::tuple{one_f_one_b, 5, 1, 11}, std::tuple{ScheduleKind::interleaved, 4, 3, 12},
        std::tuple{ScheduleKind::zb_h1, 4, 1, 9}}) {
    SCOPED_TRACE(static_cast<int>(kind));
    const Schedule schedule = schedule_of(kind, ranks, chunks, micro_batches);
    const StepCost cost = odd_cost(ranks, chunks, micro_batches);
    const SimulatedStep played = simulate(schedule, cost, Keep::path);
    EXPECT_NEAR(step_time_along(played.path, cost), played.step_s, 1e-12 * played.step_s);
    EXPECT_EQ(played.step_s, simulate(schedule, cost).step_s);
    for (std::size_t stage = 0; stage < cost.chunks.size(); ++stage) {
      for (double ChunkCost::*figure : {&ChunkCost::forward_s, &ChunkCost::backward_input_s,
                                        &ChunkCost::backward_weight_s, &ChunkCost::message_s}) {
        StepCost other = cost;
        other.chunks[stage].*figure *= 1.0001;
        const double exact = simulate(schedule, other).step_s;
        EXPECT_NEAR(step_time_along(played.path, other), exact, 1e-12 * exact);
        other.chunks[stage].*figure *= 3;
        EXPECT_LE(step_time_along(played.path, other),
                  simulate(schedule, other).step_s * (1 + 1e-12));
      }
    }
  }
}

}  // namespace
}  // namespace kumihimo
