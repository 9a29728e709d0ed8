#include <algorithm>
#include <gtest/gtest.h>
#include <random>

#include "layout/names.hpp"
#include "schedule/schedule.hpp"

namespace kumihimo {
namespace {

/// The most that a rank holds, and the most chunks that wait for their weight pass, by walking
/// through its actions.
struct Walked {
  double held = 0;
  int waiting = 0;
};

Walked walk(const std::vector<Action>& actions, const std::vector<double>& of_chunk) {
  Walked most;
  std::vector<int> in_flight(of_chunk.size(), 0);
  int waiting = 0;
  for (const Action& action : actions) {
    if (action.kind == ActionKind::forward) ++in_flight[action.chunk];
    if (action.kind == ActionKind::backward_input) ++waiting;
    double held = 0;
    for (std::size_t chunk = 0; chunk < of_chunk.size(); ++chunk) {
      held += in_flight[chunk] * of_chunk[chunk];
    }
    most.held = std::max(most.held, held);
    most.waiting = std::max(most.waiting, waiting);
    if (action.kind == ActionKind::backward_weight) --waiting;
    if (action.kind == ActionKind::backward || action.kind == ActionKind::backward_weight) {
      --in_flight[action.chunk];
    }
  }
  return most;
}

TEST(InFlight, FormulaCountsWhatTheScheduleHolds) {
  for (const auto& kind : NameTable<ScheduleKind>::rows) {
    const bool interleaved = kind.value == ScheduleKind::interleaved;
    for (int p = 1; p <= 9; ++p) {
      for (int v = interleaved ? 2 : 1; v <= (interleaved ? 4 : 1); ++v) {
        for (int m = interleaved ? p : 1; m <= 40; m += interleaved ? p : 1) {
          const auto schedule = make_schedule(kind.value, p, v, m);
          ASSERT_TRUE(schedule);
          const std::vector<int> counted = peak_in_flight(*schedule);
          for (int rank = 0; rank < p; ++rank) {
            ASSERT_EQ(peak_in_flight(kind.value, p, v, m, rank), counted[rank])
                << kind.name << " p " << p << " v " << v << " m " << m << " rank " << rank;
            const Walked walked = walk(schedule->actions[rank], std::vector<double>(v, 1));
            ASSERT_EQ(walked.held, counted[rank]);
            ASSERT_EQ(peak_waiting(kind.value, m, rank), walked.waiting)
                << kind.name << " p " << p << " v " << v << " m " << m << " rank " << rank;
          }
        }
      }
    }
  }
}

TEST(InFlight, ChunksThatHoldUnequallyCountAtTheFullestMoment) {
  std::mt19937 random(7);
  std::uniform_int_distribution<int> bytes(0, 1000);  // whole numbers: sums are exact
  for (int p = 1; p <= 9; ++p) {
    for (int v = 2; v <= 5; ++v) {
      for (int groups = 1; groups <= 7; ++groups) {
        const auto schedule = make_schedule(ScheduleKind::interleaved, p, v, groups * p);
        ASSERT_TRUE(schedule);
        for (int rank = 0; rank < p; ++rank) {
          std::vector<double> of_chunk(v);
          for (double& chunk : of_chunk) chunk = bytes(random);
          ASSERT_EQ(peak_held(ScheduleKind::interleaved, p, groups * p, rank, of_chunk),
                    walk(schedule->actions[rank], of_chunk).held)
              << "p " << p << " v " << v << " m " << groups * p << " rank " << rank;
        }
      }
    }
  }
}

TEST(InFlight, RefusesWhatMakeScheduleRefuses) {
  // 2 passes of 2^10 micro-batches over 2^14 stages are 2^25 actions, the most there may be.
  EXPECT_EQ(num_actions(ScheduleKind::one_forward_one_backward, 8, 1, 32), 2 * 8 * 32);
  EXPECT_EQ(num_actions(ScheduleKind::zb_h1, 8, 1, 32), 3 * 8 * 32);
  EXPECT_EQ(num_actions(ScheduleKind::interleaved, 8, 2, 32), 2 * 8 * 2 * 32);
  EXPECT_EQ(num_actions(ScheduleKind::gpipe, 1 << 30, 1 << 30, std::int64_t{1} << 40),
            std::numeric_limits<std::int64_t>::max());
  EXPECT_TRUE(make_schedule(ScheduleKind::one_forward_one_backward, 1 << 14, 1, 1 << 10));
  EXPECT_FALSE(make_schedule(ScheduleKind::one_forward_one_backward, 1 << 14, 1, (1 << 10) + 1));
}

}  // namespace
}  // namespace kumihimo
