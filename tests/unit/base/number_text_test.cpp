#include "base/number_text.hpp"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace kumihimo
