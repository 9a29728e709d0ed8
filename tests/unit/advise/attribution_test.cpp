#include "advise/attribution.hpp"

#include <bit>
#include <gtest/gtest.h>
#include <numeric>

namespace kumihimo {
namespace {

std::vector<std::size_t> players(std::size_t count) {
  std::vector<std::size_t> all(count);
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

TEST(Shapley, TheGloveGameGivesTwoThirdsToTheRareGlove) {
  // Players 0 and 1 hold left gloves, 2 the right one; a pair is worth 1. In four of the six orders
  // the right glove completes the pair, in one each a left one does.
  const auto pairs = [](OptionSet set) {
    return (set & 0b100) != 0 && (set & 0b011) != 0 ? 1.0 : 0.0;
  };
  const Attribution result = shapley(players(3), pairs);
  EXPECT_TRUE(result.exact);
  EXPECT_NEAR(result.shares[0], 1.0 / 6, 1e-12);
  EXPECT_NEAR(result.shares[1], 1.0 / 6, 1e-12);
  EXPECT_NEAR(result.shares[2], 4.0 / 6, 1e-12);
}

TEST(Shapley, PlayersAreOptionsByNumber) {
  const auto value = [](OptionSet set) { return (set >> 7 & 1) != 0 ? 3.0 : 0.0; };
  const Attribution result = shapley({2, 7}, value);
  EXPECT_NEAR(result.shares[0], 0, 1e-12);
  EXPECT_NEAR(result.shares[1], 3, 1e-12);
}

TEST(Shapley, SamplesAreFairAndAddUp) {
  // The value of k players is k squared: by symmetry each of n gets n^2 / n = n.
  const std::size_t count = most_exact_options + 2;
  const auto squares = [](OptionSet set) {
    const double size = std::popcount(set);
    return size * size;
  };
  const Attribution result = shapley(players(count), squares);
  EXPECT_FALSE(result.exact);
  const double n = static_cast<double>(count);
  EXPECT_NEAR(sum(result.shares), n * n, 1e-9);
  EXPECT_GT(result.standard_error, 0);
  for (const double share : result.shares) EXPECT_NEAR(share, n, 5 * result.standard_error);
  EXPECT_EQ(shapley(players(count), squares).shares, result.shares);  // the same in every run
}

TEST(Shapley, ExactSharesAddUpWhateverTheValue) {
  const auto odd = [](OptionSet set) { return 1.0 / (1 + set % 17) + 0.1 * (set % 5); };
  const Attribution result = shapley(players(9), odd);
  EXPECT_NEAR(sum(result.shares), odd(0b111111111) - odd(0), 1e-9);
}

TEST(Interactions, AreWhatTwoGainBeyondTheirSum) {
  // 1 and 2 gain 5 and 7, together 20: 20 - 5 - 7 = 8. 0 gains 1 whatever the others do.
  const auto value = [](OptionSet set) {
    const double pair = (set & 0b110) == 0b110 ? 20
                        : (set & 0b010) != 0   ? 5
                        : (set & 0b100)        ? 7
                                               : 0;
    return pair + (set & 1);
  };
  const std::vector<OptionPair> pairs = interactions(players(3), value);
  ASSERT_EQ(pairs.size(), 3u);
  EXPECT_EQ(pairs[0].a, 1u);
  EXPECT_EQ(pairs[0].b, 2u);
  EXPECT_NEAR(pairs[0].together, 20 - 5 - 7, 1e-12);
  EXPECT_NEAR(pairs[1].together, 0, 1e-12);
}

}  // namespace
}  // namespace kumihimo
