#include "data/batches.hpp"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <vector>

#include "support/in_folder.hpp"

namespace kumihimo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Tokens 0, 1, 2, ... of a stated number.
class CountingTokens final : public TokenSource {
 public:
  explicit CountingTokens(std::int64_t tokens) : tokens_(tokens) {}
  std::int64_t tokens() const override { return tokens_; }
  std::int64_t vocab() const override { return tokens_; }
  void read(std::int64_t first, std::span<std::int32_t> out) const override {
    KUMIHIMO_CHECK(first >= 0 && first + std::ssize(out) <= tokens_);
    std::iota(out.begin(), out.end(), static_cast<std::int32_t>(first));
  }
  std::string description() const override { return "counting"; }

 private:
  std::int64_t tokens_;
};

/// The windows of one epoch by number.
std::vector<std::int64_t> epoch_of(const SampleOrder& order, std::int64_t seq_length,
                                   std::int64_t epoch) {
  std::vector<std::int64_t> windows;
  for (std::int64_t i = 0; i < order.windows(); ++i) {
    const std::int64_t first = order.first_token(epoch * order.windows() + i);
    EXPECT_EQ(first % seq_length, 0);
    windows.push_back(first / seq_length);
  }
  return windows;
}

TEST(SampleOrder, CountsWindowsSoThatEveryTokenButTheFirstIsPredictedOnce) {
  // Windows of 8 + 1 tokens at 0, 8, 16: the last one ends with token 24.
  EXPECT_EQ(SampleOrder(25, 8, 0, false).windows(), 3);
  EXPECT_EQ(SampleOrder(24, 8, 0, false).windows(), 2);
  EXPECT_EQ(SampleOrder(9, 8, 0, false).windows(), 1);
  EXPECT_THROW(SampleOrder(8, 8, 0, false), InvariantError);
  EXPECT_THROW(SampleOrder(8, 0, 0, false), InvariantError);
}

TEST(SampleOrder, UnshuffledWindowsFollowOneAnotherAndBeginAgain) {
  const SampleOrder order(25, 8, 7, false);
  std::vector<std::int64_t> first;
  for (std::int64_t sample = 0; sample < 5; ++sample) first.push_back(order.first_token(sample));
  EXPECT_THAT(first, ElementsAre(0, 8, 16, 0, 8));
}

TEST(SampleOrder, EveryEpochIsAPermutation) {
  for (const std::int64_t windows :
       {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000, 4097, 65536, 65537}) {
    const std::int64_t seq_length = 3;
    const SampleOrder order(windows * seq_length + 1, seq_length, 42, true);
    ASSERT_EQ(order.windows(), windows);
    std::vector<std::int64_t> identity(static_cast<std::size_t>(windows));
    std::iota(identity.begin(), identity.end(), 0);
    for (const std::int64_t epoch : {0, 1, 17}) {
      std::vector<std::int64_t> seen = epoch_of(order, seq_length, epoch);
      std::sort(seen.begin(), seen.end());
      EXPECT_EQ(seen, identity) << windows << " windows, epoch " << epoch;
    }
  }
}

TEST(SampleOrder, DiffersFromEpochToEpochAndFromSeedToSeed) {
  const SampleOrder order(1001, 1, 1, true), other_seed(1001, 1, 2, true), same(1001, 1, 1, true);
  EXPECT_NE(epoch_of(order, 1, 0), epoch_of(order, 1, 1));
  EXPECT_NE(epoch_of(order, 1, 0), epoch_of(other_seed, 1, 0));
  EXPECT_NE(epoch_of(order, 1, 1), epoch_of(other_seed, 1, 0));
  EXPECT_EQ(epoch_of(order, 1, 5), epoch_of(same, 1, 5));
}

// A uniform permutation of n leaves one number in place on average; 100 epochs of it leave 100,
// with a standard deviation of 10. Neighbours stay neighbours about once an epoch, likewise.
TEST(SampleOrder, IsAsDisorderedAsAUniformPermutation) {
  const SampleOrder order(1001, 1, 3, true);
  int in_place = 0, neighbours = 0;
  for (std::int64_t epoch = 0; epoch < 100; ++epoch) {
    const std::vector<std::int64_t> windows = epoch_of(order, 1, epoch);
    for (std::size_t i = 0; i < windows.size(); ++i) {
      in_place += windows[i] == static_cast<std::int64_t>(i) ? 1 : 0;
      neighbours += i > 0 && windows[i] == windows[i - 1] + 1 ? 1 : 0;
    }
  }
  EXPECT_NEAR(in_place, 100, 5 * 10);
  EXPECT_NEAR(neighbours, 100, 5 * 10);
}

TEST(SampleOrder, HugeCorporaTakeNoMemory) {
  const std::int64_t tokens = std::int64_t{1} << 50;
  const SampleOrder order(tokens, 4096, 9, true);
  for (std::int64_t sample = 0; sample < 1000; ++sample) {
    EXPECT_LE(order.first_token(sample), tokens - 4097);
    EXPECT_GE(order.first_token(sample), 0);
  }
}

TEST(SampleOrder, StaysWhatItWasSoThatOldRunsResume) {
  const SampleOrder order(11, 1, 1234, true);
  EXPECT_THAT(epoch_of(order, 1, 0), ElementsAre(2, 5, 1, 9, 3, 4, 7, 8, 6, 0));
  EXPECT_THAT(epoch_of(order, 1, 1), ElementsAre(5, 1, 9, 0, 2, 7, 4, 6, 8, 3));
}

TEST(OrderSamples, ACorpusShorterThanAWindowIsNamedWithTheRemedy) {
  EXPECT_EQ(to_string(order_samples(CountingTokens(1024), 1024, 0, true).errors()),
            "counting: is shorter than one sample of 1,024 tokens and the one that follows them; "
            "give --seq-length 1023 or less, or a longer corpus\n");
  EXPECT_THAT(message(order_samples(CountingTokens(1), 1024, 0, true)),
              HasSubstr("; give a longer corpus"));
  const Expected<SampleOrder> order = order_samples(CountingTokens(1025), 1024, 0, true);
  ASSERT_TRUE(order);
  EXPECT_EQ(order->windows(), 1);
}

TEST(ReadMicroBatch, TargetsAreTheInputsMovedByOne) {
  const CountingTokens source(13);
  const SampleOrder order(13, 4, 0, false);  // windows at 0, 4, 8
  std::vector<std::int32_t> inputs(8), targets(8);
  read_micro_batch(source, order, 2, 4, inputs, targets);  // samples 2 and 3: windows 2 and 0
  EXPECT_THAT(inputs, ElementsAre(8, 9, 10, 11, 0, 1, 2, 3));
  EXPECT_THAT(targets, ElementsAre(9, 10, 11, 12, 1, 2, 3, 4));
}

TEST(ReadMicroBatch, ABatchIsItsSequencesWhateverItsSize) {
  const CountingTokens source(1001);
  const SampleOrder order(1001, 10, 5, true);
  std::vector<std::int32_t> inputs(40), targets(40), one_input(10), one_target(10);
  read_micro_batch(source, order, 96, 10, inputs, targets);  // over the end of the first epoch
  for (std::size_t s = 0; s < 4; ++s) {
    read_micro_batch(source, order, 96 + static_cast<std::int64_t>(s), 10, one_input, one_target);
    EXPECT_TRUE(std::equal(one_input.begin(), one_input.end(), &inputs[10 * s]));
    EXPECT_TRUE(std::equal(one_target.begin(), one_target.end(), &targets[10 * s]));
  }
}

TEST(ReadMicroBatch, ShapesThatDoNotFitAreOurMistake) {
  const CountingTokens source(13);
  const SampleOrder order(13, 4, 0, false);
  std::vector<std::int32_t> eight(8), six(6);
  EXPECT_THROW(read_micro_batch(source, order, 0, 4, eight, six), InvariantError);
  EXPECT_THROW(read_micro_batch(source, order, 0, 4, six, six), InvariantError);
}

}  // namespace
}  // namespace kumihimo
