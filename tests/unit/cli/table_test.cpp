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

TEST(Table, WrapsItsLastColumnAtBlanks) {
  const Table table{{{"change"}, {"speed", Align::right}, {"why"}},
                    {{"tp", "1 %", "a short one"},
                     {"pp", "-22 %", "matrix products +1.2 s, bubble +3.4 s, host +5.6 s"},
                     {"does not fit:"}}};
  EXPECT_EQ(wrapped_text(table, 0), to_text(table));
  EXPECT_EQ(wrapped_text(table, 200), to_text(table));
  EXPECT_EQ(wrapped_text(table, 50),
            "  change         speed  why\n"
            "  tp               1 %  a short one\n"
            "  pp             -22 %  matrix products +1.2 s,\n"
            "                        bubble +3.4 s, host +5.6 s\n"
            "  does not fit:\n");
  // Where nothing readable would be left of the column, the terminal may as well break it.
  EXPECT_EQ(wrapped_text(table, 30), to_text(table));
  EXPECT_EQ(wrapped_text(table, 35, {"speed"}),
            "  change         why\n"
            "  tp             a short one\n"
            "  pp             matrix products\n"
            "                 +1.2 s, bubble\n"
            "                 +3.4 s, host +5.6\n"
            "                 s\n"
            "  does not fit:\n");
}

TEST(Table, LeavesOutColumnsUntilItIsNarrow) {
  const Table whole{{{"#"}, {"MFU"}, {"causal"}, {"comm"}},
                    {{"1", "50 %", "48 %", "3 %"}, {"2", "40 %"}}};
  EXPECT_EQ(display_width(whole), 1 + 2 + 4 + 2 + 6 + 2 + 4);
  Table table = whole;
  EXPECT_TRUE(narrow(table, {"causal", "comm"}, 0).empty());
  EXPECT_TRUE(narrow(table, {"causal", "comm"}, 21).empty());
  EXPECT_EQ(narrow(table, {"causal", "comm"}, 20), std::vector<std::string>{"causal"});
  EXPECT_EQ(to_text(table, 0), "#  MFU   comm\n1  50 %  3 %\n2  40 %\n");
  EXPECT_EQ(narrow(table, {"no such", "comm"}, 5), std::vector<std::string>{"comm"});
}

TEST(Table, LeavesOutEmptyTitlesAndTrailingBlanks) {
  const Table table{{{""}, {""}}, {{"a", "b"}, {"longer"}}};
  EXPECT_EQ(to_text(table, 0), "a       b\nlonger\n");
}

}  // namespace
}  // namespace kumihimo
