#include "base/suggest.hpp"

#include <gtest/gtest.h>
#include <vector>

namespace kumihimo {
namespace {

const std::vector<std::string> known{"llama-13b", "llama-7b", "mistral-7b"};
const std::string list = "known: llama-13b, llama-7b, mistral-7b";

TEST(Suggest, NamesTheNearestAndThenTheList) {
  EXPECT_EQ(suggest("lama-13b", known), "did you mean \"llama-13b\"? " + list);
  EXPECT_EQ(suggest("mistral7b", known), "did you mean \"mistral-7b\"? " + list);
}

TEST(Suggest, LetterCaseIsNoDistance) {
  EXPECT_EQ(suggest("LLaMA-7B", known), "did you mean \"llama-7b\"? " + list);
}

TEST(Suggest, TheBeginningOfANameIsNear) {
  const std::vector<std::string> clusters{"a100-40gb-sxm", "a100-80gb-sxm", "h100-80gb-sxm"};
  const std::string all = "known: a100-40gb-sxm, a100-80gb-sxm, h100-80gb-sxm";
  EXPECT_EQ(suggest("a100-80g", clusters), "did you mean \"a100-80gb-sxm\"? " + all);
  EXPECT_EQ(suggest("H100", clusters), "did you mean \"h100-80gb-sxm\"? " + all);
  EXPECT_EQ(suggest("h1", clusters), all);
}

TEST(Suggest, FarNamesGetTheListAlone) {
  EXPECT_EQ(suggest("gpt-3", known), list);
  EXPECT_EQ(suggest("", known), list);
  EXPECT_EQ(suggest(std::string(1'000'000, 'a'), known), list);
}

TEST(Suggest, ReplacingEveryLetterIsNoResemblance) {
  const std::vector<std::string> letters{"a", "b"};
  EXPECT_EQ(suggest("c", letters), "known: a, b");
}

TEST(Suggest, NothingKnownNothingSaid) { EXPECT_EQ(suggest("llama", {}), ""); }

}  // namespace
}  // namespace kumihimo
