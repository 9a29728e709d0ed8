#include <array>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <vector>

#include "data/token_source.hpp"

namespace kumihimo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::int32_t> read(const TokenSource& source, std::int64_t first, std::size_t count) {
  std::vector<std::int32_t> tokens(count, -1);
  source.read(first, tokens);
  return tokens;
}

TEST(EmbeddedText, IsTheNovelFromItsFirstLineToItsLast) {
  const auto source = embedded_text();
  EXPECT_EQ(source->tokens(), 466'854);
  EXPECT_EQ(source->vocab(), 256);
  EXPECT_THAT(source->description(), HasSubstr("Persuasion (1817, public domain): 466,854 bytes"));
  EXPECT_THAT(read(*source, 0, 10), ElementsAre('P', 'e', 'r', 's', 'u', 'a', 's', 'i', 'o', 'n'));
  EXPECT_THAT(read(*source, 466'854 - 6, 6), ElementsAre('F', 'i', 'n', 'i', 's', '\n'));
  EXPECT_THROW(read(*source, 466'854 - 6, 7), InvariantError);
}

TEST(SyntheticTokens, AreAFunctionOfSeedAndNumber) {
  const auto source = synthetic_tokens(1000, 7), same = synthetic_tokens(1000, 7);
  const std::vector<std::int32_t> tokens = read(*source, 100, 50);
  EXPECT_EQ(tokens, read(*same, 100, 50));
  EXPECT_EQ(tokens[20], read(*source, 120, 1)[0]);
  EXPECT_NE(tokens, read(*synthetic_tokens(1000, 8), 100, 50));
  EXPECT_THAT(read(*synthetic_tokens(1, 7), 0, 3), ElementsAre(0, 0, 0));
  EXPECT_THROW(synthetic_tokens(0, 7), InvariantError);
}

// 80,000 tokens over 8 values: 10,000 each, with a standard deviation of sqrt(80,000 x 1/8 x 7/8)
// = 94.
TEST(SyntheticTokens, TakeEveryValueAlike) {
  std::array<int, 8> count{};
  for (const std::int32_t token : read(*synthetic_tokens(8, 1), 0, 80'000)) {
    ASSERT_GE(token, 0);
    ASSERT_LT(token, 8);
    ++count[static_cast<std::size_t>(token)];
  }
  for (const int times : count) EXPECT_NEAR(times, 10'000, 5 * 94);
}

TEST(SyntheticTokens, OutlastAnyRunAndStayWithinTheLargestVocabulary) {
  const auto source = synthetic_tokens(std::int64_t{1} << 31, 3);
  for (const std::int32_t token : read(*source, source->tokens() - 1000, 1000)) EXPECT_GE(token, 0);
}

}  // namespace
}  // namespace kumihimo
