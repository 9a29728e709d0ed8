#include "base/shown_text.hpp"

#include <gtest/gtest.h>

namespace kumihimo {
namespace {

TEST(ShownText, IsTheTextWhereItIsShortAndPlain) {
  EXPECT_EQ(shown(""), "");
  EXPECT_EQ(shown("llama-7b"), "llama-7b");
  EXPECT_EQ(shown_quoted("llama-7b"), "\"llama-7b\"");
  EXPECT_EQ(shown(std::string(60, 'x')), std::string(60, 'x'));
}

TEST(ShownText, IsCutBetweenCharacters) {
  EXPECT_EQ(shown(std::string(61, 'x')), std::string(60, 'x') + "...");
  EXPECT_EQ(shown("abcdef", 3), "abc...");
  EXPECT_EQ(shown("組紐", 4), "組...");  // three bytes each
  EXPECT_EQ(shown("組紐", 2), "...");
}

TEST(ShownText, HoldsNoControlCharacter) { EXPECT_EQ(shown("a\n\x1b[31m\x7f"), "a??[31m?"); }

}  // namespace
}  // namespace kumihimo
