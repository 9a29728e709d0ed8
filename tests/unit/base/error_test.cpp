#include "base/error.hpp"

#include <gtest/gtest.h>
#include <memory>

namespace kumihimo {
namespace {

TEST(Error, PrintsPlaceFaultAndRemedyOnOneLineEach) {
  const Errors errors{{"--tp", "is 3, which does not divide 40 heads", "give 1, 2, 4, 5 or 8"},
                      {"", "nothing fits", ""}};
  EXPECT_EQ(to_string(errors),
            "--tp: is 3, which does not divide 40 heads; give 1, 2, 4, 5 or 8\nnothing fits\n");
}

TEST(Expected, HoldsAValueThatCanBeMovedOut) {
  Expected<std::unique_ptr<int>> value(std::make_unique<int>(7));
  ASSERT_TRUE(value.has_value());
  const std::unique_ptr<int> taken = *std::move(value);
  EXPECT_EQ(*taken, 7);
}

TEST(Expected, AskingForTheWrongSideIsAProgramError) {
  const Expected<int> value(1);
  const Expected<int> fault(Error{"a", "b", "c"});
  EXPECT_THROW((void)value.errors(), InvariantError);
  EXPECT_THROW((void)*fault, InvariantError);
  EXPECT_THROW((void)Expected<int>(Errors{}), InvariantError);
}

TEST(Collect, AppendsFaultsInOrderAndNothingForAValue) {
  Errors all{{"1", "", ""}};
  collect(all, Expected<int>(5));
  collect(all, Expected<int>(Errors{{"2", "", ""}, {"3", "", ""}}));
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[1].where, "2");
  EXPECT_EQ(all[2].where, "3");
}

}  // namespace
}  // namespace kumihimo
