#include <gtest/gtest.h>
#include <limits>
#include <nlohmann/json.hpp>

#include "cli/json_text.hpp"
#include "cli/number_text.hpp"
#include "cli/progress.hpp"
#include "cli/table.hpp"

namespace kumihimo {
namespace {

TEST(NumberText, GroupsThousands) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(-1234567), "-1,234,567");
  EXPECT_EQ(grouped(-123), "-123");
}

TEST(NumberText, ShortensCounts) {
  EXPECT_EQ(short_count(12), "12");
  EXPECT_EQ(short_count(13.02e9), "13.0 B");
  EXPECT_EQ(short_count(4194304), "4.19 M");
  EXPECT_EQ(short_count(999.9e6), "1.00 B");
  EXPECT_EQ(short_count(2e15), "2000 T");
}

TEST(NumberText, GivesTimesAndRatesTheDigitsThatTheyAreReadFor) {
  EXPECT_EQ(step_text(63.1234), "63.12 s");
  EXPECT_EQ(step_text(1.5), "1.500 s");
  EXPECT_EQ(step_text(0.8315), "831.5 ms");
  EXPECT_EQ(step_text(254.26), "254.3 s");
  EXPECT_EQ(rate_text(20.94), "20.9");
  EXPECT_EQ(rate_text(2536.6), "2,537");
}

TEST(NumberText, GivesZeroNoSign) {
  EXPECT_EQ(signed_percent(-0.0001), "0.0 %");
  EXPECT_EQ(signed_percent(0.032), "+3.2 %");
  EXPECT_EQ(signed_percent(-0.5), "-50.0 %");
}

TEST(JsonText, KeepsOrderAndEveryDigit) {
  const nlohmann::ordered_json document{{"schema", "kumihimo.test/1"},
                                        {"b", 0.1 + 0.2},
                                        {"a", std::numeric_limits<double>::quiet_NaN()}};
  EXPECT_EQ(
      to_json_text(document),
      "{\n  \"schema\": \"kumihimo.test/1\",\n  \"b\": 0.30000000000000004,\n  \"a\": null\n}\n");
}

TEST(JsonText, RepairsTextThatIsNotUtf8) {
  const nlohmann::ordered_json document{{"name", "a\xFF"}};
  EXPECT_EQ(to_json_text(document), "{\n  \"name\": \"a\xEF\xBF\xBD\"\n}\n");
}

TEST(ProgressLine, ShowsShareAndTimeLeft) {
  // A quarter done in 2 s: three quarters take 6 s more.
  const std::string line = progress_line("searching", 0.25, 2, 80);
  EXPECT_NE(line.find("25 %, 6.00 s left"), std::string::npos) << line;
  EXPECT_LE(display_width(line), 80);
  EXPECT_EQ(progress_line("searching", 0, 2, 80).find("left"), std::string::npos);
}

TEST(ProgressLine, FitsANarrowTerminal) {
  EXPECT_LE(display_width(progress_line("searching", 0.5, 100000, 40)), 40);
}

}  // namespace
}  // namespace kumihimo
