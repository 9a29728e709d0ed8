#include "comm/rank_order.hpp"

#include <array>
#include <gtest/gtest.h>

namespace kumihimo {
namespace {

TEST(ShareOf, CoversEveryElementOnceInRankOrder) {
  for (const std::int64_t elements : {0, 1, 63, 64, 65, 1000, 4096}) {
    for (const int size : {1, 2, 3, 7, 100}) {
      std::int64_t covered = 0;
      for (int rank = 0; rank < size; ++rank) {
        const ElementRange share = share_of(elements, rank, size);
        EXPECT_EQ(share.first, covered);
        EXPECT_TRUE(share.first % 64 == 0 || share.count == 0);
        covered += share.count;
      }
      EXPECT_EQ(covered, elements);
    }
  }
}

TEST(ShareOf, IsEvenWhereLinesOf64ElementsAllowIt) {
  EXPECT_EQ(share_of(4096, 1, 4).first, 1024);
  EXPECT_EQ(share_of(4096, 1, 4).count, 1024);
  // 1,000 elements are 16 lines, the last of 40 elements: 5, 5 and 6 lines.
  EXPECT_EQ(share_of(1000, 0, 3).count, 5 * 64);
  EXPECT_EQ(share_of(1000, 1, 3).count, 5 * 64);
  EXPECT_EQ(share_of(1000, 2, 3).count, 5 * 64 + 40);
}

TEST(ReduceInRankOrder, TouchesTheRangeAlone) {
  std::array<float, 5> a{1, 2, 3, 4, 5}, b{10, 20, 30, 40, 50}, out{};
  const std::array<const std::byte*, 2> inputs{reinterpret_cast<const std::byte*>(a.data()),
                                               reinterpret_cast<const std::byte*>(b.data())};
  const std::array<std::byte*, 1> outputs{reinterpret_cast<std::byte*>(out.data())};
  reduce_in_rank_order(inputs, outputs, {1, 3}, DType::fp32, Reduction::sum);
  EXPECT_EQ(out, (std::array<float, 5>{0, 2 + 20, 3 + 30, 4 + 40, 0}));
}

/// In fp32 1 + 2^-24 is a tie and rounds to 1, twice; the small ones first give 1 + 2^-23.
TEST(ReduceInRankOrder, AddsFromTheFirstRankOn) {
  const float one = 1, tiny = 0x1p-24f;
  float out = 0;
  const auto bytes = [](const float& x) { return reinterpret_cast<const std::byte*>(&x); };
  const std::array<std::byte*, 1> outputs{reinterpret_cast<std::byte*>(&out)};
  reduce_in_rank_order(std::array{bytes(one), bytes(tiny), bytes(tiny)}, outputs, {0, 1},
                       DType::fp32, Reduction::sum);
  EXPECT_EQ(out, (1 + 0x1p-24f) + 0x1p-24f);
  EXPECT_EQ(out, 1);
  reduce_in_rank_order(std::array{bytes(tiny), bytes(tiny), bytes(one)}, outputs, {0, 1},
                       DType::fp32, Reduction::sum);
  EXPECT_EQ(out, (0x1p-24f + 0x1p-24f) + 1);
  EXPECT_EQ(out, 1 + 0x1p-23f);
}

}  // namespace
}  // namespace kumihimo
