#include "cli/table.hpp"

#include <gtest/gtest.h>

namespace kumihimo {
namespace {

TEST(DisplayWidth, CountsColumnsOfATerminal) {
  EXPECT_EQ(display_width("abc"), 3);
  EXPECT_EQ(display_width("±·…"), 3);
  EXPECT_EQ(display_width("組紐"), 2 * 2);
  EXPECT_EQ(display_width("e\xCC\x81"), 1);  // e and a combining accent
}

TEST(DisplayWidth, SurvivesBrokenUtf8) {
  EXPECT_EQ(display_width("\xE7\x8D"), 1);
  EXPECT_EQ(display_width("\xFF\xFE"), 2);
  EXPECT_EQ(display_width("a\x80"), 2);
}

TEST(Table, AlignsEveryColumn) {
  const Table table{{{"name"}, {"size", Align::right}}, {{"±", "7"}, {"longer name", "12345"}}};
  EXPECT_EQ(to_text(table),
            "  name          size\n"
            "  ±                7\n"
            "  longer name  12345\n");
}

TEST(Table, LeavesOutEmptyTitlesAndTrailingBlanks) {
  const Table table{{{""}, {""}}, {{"a", "b"}, {"longer"}}};
  EXPECT_EQ(to_text(table, 0), "a       b\nlonger\n");
}

}  // namespace
}  // namespace kumihimo
