#include "schedule/schedule.hpp"

#include <climits>
#include <gtest/gtest.h>
#include <string>

#include "play.hpp"

namespace kumihimo {
namespace {

using testing::makespan;

Schedule make(ScheduleKind kind, int pipeline_parallel, int chunks, int num_micro_batches) {
  return *make_schedule(kind, pipeline_parallel, chunks, num_micro_batches);
}

/// "F0 F1 D0 ...": F forward, D whole backward, B input gradient, W weight gradient; ".c" = chunk.
std::string text(const std::vector<Action>& actions) {
  std::string result;
  for (const Action& action : actions) {
    if (!result.empty()) result += ' ';
    result += "FDBW"[static_cast<int>(action.kind)];
    result += std::to_string(action.micro_batch);
    if (action.chunk > 0) result += "." + std::to_string(action.chunk);
  }
  return result;
}

TEST(Gpipe, RunsAllForwardsThenAllBackwards) {
  const Schedule schedule = make(ScheduleKind::gpipe, 2, 1, 3);
  EXPECT_EQ(text(schedule.actions[0]), "F0 F1 F2 D0 D1 D2");
  EXPECT_EQ(text(schedule.actions[1]), "F0 F1 F2 D0 D1 D2");
}

TEST(OneForwardOneBackward, MatchesTheFigureForThreeRanks) {
  const Schedule schedule = make(ScheduleKind::one_forward_one_backward, 3, 1, 4);
  EXPECT_EQ(text(schedule.actions[0]), "F0 F1 F2 D0 F3 D1 D2 D3");
  EXPECT_EQ(text(schedule.actions[1]), "F0 F1 D0 F2 D1 F3 D2 D3");
  EXPECT_EQ(text(schedule.actions[2]), "F0 D0 F1 D1 F2 D2 F3 D3");
}

TEST(OneForwardOneBackward, WarmsUpWithFewerMicroBatchesThanRanks) {
  const Schedule schedule = make(ScheduleKind::one_forward_one_backward, 4, 1, 2);
  EXPECT_EQ(text(schedule.actions[0]), "F0 F1 D0 D1");
  EXPECT_EQ(text(schedule.actions[3]), "F0 D0 F1 D1");
}

TEST(Interleaved, FollowsMegatronsOrder) {
  // Warm-up of rank 0: (2 - 0 - 1) * 2 + (2 - 1) * 2 = 4 forwards; of rank 1: 0 + 2 = 2.
  const Schedule schedule = make(ScheduleKind::interleaved, 2, 2, 4);
  EXPECT_EQ(text(schedule.actions[0]),
            "F0 F1 F0.1 F1.1 F2 D0.1 F3 D1.1 F2.1 D0 F3.1 D1 D2.1 D3.1 D2 D3");
  EXPECT_EQ(text(schedule.actions[1]),
            "F0 F1 F0.1 D0.1 F1.1 D1.1 F2 D0 F3 D1 F2.1 D2.1 F3.1 D3.1 D2 D3");
}

TEST(ZbH1, LetsRankManyWeightGradientsWait) {
  const Schedule schedule = make(ScheduleKind::zb_h1, 3, 1, 4);
  EXPECT_EQ(text(schedule.actions[0]), "F0 F1 F2 B0 W0 F3 B1 W1 B2 W2 B3 W3");
  EXPECT_EQ(text(schedule.actions[1]), "F0 F1 B0 F2 B1 W0 F3 B2 W1 B3 W2 W3");
  EXPECT_EQ(text(schedule.actions[2]), "F0 B0 F1 B1 F2 B2 W0 F3 B3 W1 W2 W3");
}

TEST(Schedule, PlacesChunksRoundRobin) {
  const Schedule schedule = make(ScheduleKind::interleaved, 4, 2, 4);
  EXPECT_EQ(schedule.virtual_stages(), 4 * 2);
  EXPECT_EQ(schedule.virtual_stage(3, 0), 3);
  EXPECT_EQ(schedule.virtual_stage(0, 1), 4);
}

TEST(Schedule, OneRankHasNoBubble) {
  for (const ScheduleKind kind :
       {ScheduleKind::gpipe, ScheduleKind::one_forward_one_backward, ScheduleKind::zb_h1}) {
    EXPECT_EQ(makespan(make(kind, 1, 1, 7)), 7 * 3);
  }
}

TEST(Makespan, EqualsTheoryWithEveryPassKnown) {
  // 1F1B, 4 ranks, 8 micro-batches, forward 1, backward 2: (8 + 4 - 1) * 3.
  EXPECT_EQ(makespan(make(ScheduleKind::one_forward_one_backward, 4, 1, 8)), (8 + 4 - 1) * 3);
  EXPECT_EQ(makespan(make(ScheduleKind::gpipe, 4, 1, 8)), (8 + 4 - 1) * 3);
  // Two chunks, each half as long as a rank's whole model: in chunk units the work is 8 * 2 * 3 and
  // the bubble (4 - 1) * 3, half of 1F1B's (4 - 1) * 3 * 2.
  EXPECT_EQ(makespan(make(ScheduleKind::interleaved, 4, 2, 8)), 8 * 2 * 3 + (4 - 1) * 3);
  // ZB-H1: bubble (p - 1) * (forward + backward_input - backward_weight).
  EXPECT_EQ(makespan(make(ScheduleKind::zb_h1, 4, 1, 8)), 8 * 3 + (4 - 1) * (1 + 1 - 1));
  EXPECT_EQ(makespan(make(ScheduleKind::zb_h1, 4, 1, 8), {10, 14, 9}),
            8 * (10 + 14 + 9) + (4 - 1) * (10 + 14 - 9));
}

TEST(PeakInFlight, EqualsTheory) {
  EXPECT_EQ(peak_in_flight(make(ScheduleKind::gpipe, 3, 1, 5)), (std::vector{5, 5, 5}));
  EXPECT_EQ(peak_in_flight(make(ScheduleKind::one_forward_one_backward, 3, 1, 5)),
            (std::vector{3, 2, 1}));
  EXPECT_EQ(peak_in_flight(make(ScheduleKind::zb_h1, 3, 1, 5)), (std::vector{3, 3, 3}));
  // Chunks, one more than the warm-up: (p - r - 1) * 2 + (v - 1) * p + 1.
  EXPECT_EQ(peak_in_flight(make(ScheduleKind::interleaved, 3, 2, 6)),
            (std::vector{2 * 2 + 3 + 1, 1 * 2 + 3 + 1, 0 * 2 + 3 + 1}));
}

TEST(MakeSchedule, RefusesNonsenseCountsAllAtOnce) {
  const auto schedule = make_schedule(ScheduleKind::gpipe, 0, -1, INT_MIN);
  ASSERT_FALSE(schedule);
  ASSERT_EQ(schedule.errors().size(), 3u);
  EXPECT_EQ(schedule.errors()[0].where, "schedule: pipeline ranks");
  EXPECT_EQ(schedule.errors()[0].what, "is 0");
  EXPECT_EQ(schedule.errors()[2].what, "is -2147483648");
}

TEST(MakeSchedule, RefusesInterleavingThatDoesNotDivide) {
  const auto schedule = make_schedule(ScheduleKind::interleaved, 4, 2, 6);
  ASSERT_FALSE(schedule);
  ASSERT_EQ(schedule.errors().size(), 1u);
  EXPECT_NE(schedule.errors()[0].what.find("6"), std::string::npos);
  EXPECT_EQ(schedule.errors()[0].fix, "give a multiple of 4, or use 1f1b");
}

TEST(MakeSchedule, RefusesInterleavingOfOneChunk) {
  const auto schedule = make_schedule(ScheduleKind::interleaved, 4, 1, 8);
  ASSERT_FALSE(schedule);
  EXPECT_EQ(schedule.errors()[0].where, "schedule: virtual stages per rank");
}

TEST(MakeSchedule, RefusesChunksInOtherSchedules) {
  for (const ScheduleKind kind :
       {ScheduleKind::gpipe, ScheduleKind::one_forward_one_backward, ScheduleKind::zb_h1}) {
    const auto schedule = make_schedule(kind, 4, 2, 8);
    ASSERT_FALSE(schedule);
    EXPECT_EQ(schedule.errors()[0].where, "schedule: virtual stages per rank");
  }
}

TEST(MakeSchedule, RefusesWhatWouldNotFitInMemory) {
  EXPECT_FALSE(make_schedule(ScheduleKind::gpipe, 1, 1, INT_MAX));
  EXPECT_FALSE(make_schedule(ScheduleKind::gpipe, INT_MAX, 1, 1));
  EXPECT_FALSE(make_schedule(ScheduleKind::interleaved, INT_MAX, INT_MAX, INT_MAX));
}

}  // namespace
}  // namespace kumihimo
