#include "simulator/timeline.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sstream>

#include "step_example.hpp"

namespace kumihimo {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing_example::play;
using testing_example::uniform_cost;

SimulatedStep played(ScheduleKind kind, int ranks, int micro_batches) {
  return play(*make_schedule(kind, ranks, 1, micro_batches), uniform_cost(ranks, 1, micro_batches));
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

int columns(const std::string& line) {
  int letters = 0;
  for (const char c : line) letters += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return letters;
}

TEST(Timeline, DrawsOneForwardOneBackwardToScale) {
  // 2 ranks, 2 micro-batches, forward 1 s, backward 2 s: 9 s in 36 columns, so 4 a second.
  const auto lines =
      lines_of(timeline_text(played(ScheduleKind::one_forward_one_backward, 2, 2), 36 + 6));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], "   0  00001111········▒▒▒▒▒▒▒▒····▒▒▒▒▒▒▒▒");
  EXPECT_EQ(lines[1], "   1  ····0000▒▒▒▒▒▒▒▒1111▒▒▒▒▒▒▒▒········");
}

TEST(Timeline, SetsWeightGradientsApart) {
  EXPECT_THAT(timeline_text(played(ScheduleKind::zb_h1, 2, 3), 80), HasSubstr("░"));
  EXPECT_THAT(timeline_text(played(ScheduleKind::one_forward_one_backward, 2, 3), 80),
              Not(HasSubstr("░")));
}

TEST(Timeline, LeavesOutTheMiddleOfManyMicroBatches) {
  const auto lines =
      lines_of(timeline_text(played(ScheduleKind::one_forward_one_backward, 4, 100), 60));
  ASSERT_EQ(lines.size(), 4u);
  for (const std::string& line : lines) {
    EXPECT_THAT(line, HasSubstr(" … "));
    EXPECT_EQ(columns(line), 60);
  }
  // A forward pass takes two columns: the fill of the first rank is legible.
  EXPECT_THAT(lines[0], HasSubstr("  00112233"));
  // The last thing that happens is the first rank's last backward.
  EXPECT_TRUE(lines[0].ends_with("▒▒▒▒"));
}

TEST(Timeline, ShowsTheFirstAndLastOfManyRanks) {
  const auto lines =
      lines_of(timeline_text(played(ScheduleKind::one_forward_one_backward, 64, 64), 80));
  ASSERT_EQ(lines.size(), 17u);
  EXPECT_THAT(lines[7], HasSubstr("   7  "));
  EXPECT_THAT(lines[8], HasSubstr("⋮"));
  EXPECT_THAT(lines[9], HasSubstr("  56  "));
  EXPECT_THAT(lines[16], HasSubstr("  63  "));
}

}  // namespace
}  // namespace kumihimo
