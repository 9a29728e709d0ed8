#include <gtest/gtest.h>

#include "layout/names.hpp"
#include "schedule/schedule.hpp"

namespace kumihimo {
namespace {

TEST(InFlight, FormulaCountsWhatTheScheduleHolds) {
  for (const auto& kind : NameTable<ScheduleKind>::rows) {
    const bool interleaved = kind.value == ScheduleKind::interleaved;
    for (int p = 1; p <= 9; ++p) {
      for (int v = interleaved ? 2 : 1; v <= (interleaved ? 4 : 1); ++v) {
        for (int m = interleaved ? p : 1; m <= 40; m += interleaved ? p : 1) {
          const auto schedule = make_schedule(kind.value, p, v, m);
          ASSERT_TRUE(schedule);
          const std::vector<int> counted = peak_in_flight(*schedule);
          const std::vector<int> waiting = peak_waiting(*schedule);
          for (int rank = 0; rank < p; ++rank) {
            ASSERT_EQ(peak_in_flight(kind.value, p, v, m, rank), counted[rank])
                << kind.name << " p " << p << " v " << v << " m " << m << " rank " << rank;
            ASSERT_EQ(peak_waiting(kind.value, m, rank), waiting[rank])
                << kind.name << " p " << p << " v " << v << " m " << m << " rank " << rank;
          }
        }
      }
    }
  }
}

TEST(InFlight, RefusesWhatMakeScheduleRefuses) {
  // 2 passes of 2^10 micro-batches over 2^14 stages are 2^25 actions, the most there may be.
  EXPECT_TRUE(is_playable(ScheduleKind::one_forward_one_backward, 1 << 14, 1, 1 << 10));
  EXPECT_FALSE(is_playable(ScheduleKind::one_forward_one_backward, 1 << 14, 1, (1 << 10) + 1));
  EXPECT_FALSE(is_playable(ScheduleKind::zb_h1, 1 << 14, 1, 1 << 10));  // 3 passes
  EXPECT_FALSE(is_playable(ScheduleKind::interleaved, 1 << 14, 2, 1 << 10));
  EXPECT_FALSE(is_playable(ScheduleKind::gpipe, 1, 1, std::int64_t{1} << 40));
  EXPECT_FALSE(make_schedule(ScheduleKind::one_forward_one_backward, 1 << 14, 1, (1 << 10) + 1));
}

}  // namespace
}  // namespace kumihimo
