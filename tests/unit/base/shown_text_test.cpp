#include "base/shown_text.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

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

TEST(ShownText, HoldsNoControlCharacter) {
  EXPECT_EQ(shown("a\n\x1b[31m\x7f"), "a??[31m?");
  EXPECT_EQ(shown("a\xc2\x9b"
                  "31m"),
            "a?31m")
      << "one character that begins a command";
  EXPECT_EQ(shown("\xc2\xa0\xc3\x9b"), "\xc2\xa0\xc3\x9b") << "letters stay";
}

TEST(ShownText, ALongMessageKeepsItsLines) {
  EXPECT_EQ(without_controls("a\n\x1b[31mb\n"), "a\n?[31mb\n");
  EXPECT_EQ(to_string(Errors{{"a\x1b]0;x\x07.json", "is no model", "give one"}}),
            "a?]0;x?.json: is no model; give one\n");
}

}  // namespace
}  // namespace kumihimo
