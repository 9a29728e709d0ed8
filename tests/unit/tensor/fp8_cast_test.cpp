#include <array>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

#include "support/backends.hpp"
#include "support/fp8_casts.hpp"
#include "support/matrices.hpp"

namespace kumihimo::testing {
namespace {

class Fp8Cast : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(On, Fp8Cast, ::testing::ValuesIn(host_backends()), backend_name);

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

using Counts = std::array<double, 3>;

TEST_P(Fp8Cast, TheLargestMagnitudeSeesSignsGapsAndNaN) {
  const CastMemory memory;
  const auto cast = [&](const HostMatrix& x) {
    kernels.cast_to_fp8(x, memory.cast(),
                        {.straight = HostMatrix(x.rows(), x.cols(), DType::fp8_e4m3)});
    return memory.maximum.at(0, 0);
  };
  Random random(22);
  const double gapped = cast(random_matrix(random, 3, 5, DType::fp32, 2, 9));  // gaps are NaN
  EXPECT_GT(gapped, 0);
  EXPECT_LE(gapped, 2);
  EXPECT_EQ(cast(HostMatrix({{1, -7}, {3, 2}}, DType::bf16)), 7);
  EXPECT_EQ(cast(HostMatrix{{6, -6}}), 7) << "of all casts so far";
  for (std::int64_t col = 0; col < 37; ++col) {
    HostMatrix with_nan = random_matrix(random, 1, 37);
    with_nan.set(0, col, not_a_number);
    kernels.fill(memory.maximum, 0);
    EXPECT_TRUE(std::isnan(cast(with_nan))) << col;
    EXPECT_TRUE(std::isnan(cast(HostMatrix{{1, 2}}))) << "stays";
  }
}

TEST_P(Fp8Cast, ScalesRoundsSaturatesAndCounts) {
  // Between 1 and 2, e4m3 numbers are 1/8 apart: 1.0625 is a tie, which goes to the even 1.
  const HostMatrix x{{0.5, 1.0625 / 2, 225, -1000, 0x1p-12, 0}};
  const HostMatrix out(1, 6, DType::fp8_e4m3);
  const CastMemory memory(2);
  kernels.cast_to_fp8(x, memory.cast(), {.straight = out});
  EXPECT_TRUE(same_values(out, HostMatrix{{1, 1, 448, -448, 0, 0}}));
  // 450 and -2000 overflow; 2^-11 underflows: the smallest is 2^-9; 0 was 0 before.
  EXPECT_EQ(memory.seen(), (Counts{6, 2, 1}));
  EXPECT_EQ(memory.maximum.at(0, 0), 1000);
  kernels.cast_to_fp8(x, memory.cast(), {.straight = out});
  EXPECT_EQ(memory.seen(), (Counts{12, 4, 2})) << "added to what was seen before";
}

TEST_P(Fp8Cast, E5m2ReachesFarther) {
  const HostMatrix x({{50000, 57344, 60000, 0x1p-16, 0x1p-18, -0x1p-17}}, DType::fp32);
  const HostMatrix out(1, 6, DType::fp8_e5m2);
  const CastMemory memory;
  kernels.cast_to_fp8(x, memory.cast(), {.straight = out});
  // 49,152 and 57,344 are neighbours; -2^-17 is a tie between 0 and the smallest.
  EXPECT_TRUE(same_values(out, HostMatrix{{49152, 57344, 57344, 0x1p-16, 0, 0}}));
  EXPECT_EQ(memory.seen(), (Counts{6, 1, 2}));
}

TEST_P(Fp8Cast, KeepsNaNAndCountsItAsNeither) {
  for (const DType dtype : {DType::fp8_e4m3, DType::fp8_e5m2}) {
    const HostMatrix out(1, 2, dtype);
    const CastMemory memory;
    kernels.cast_to_fp8(HostMatrix{{not_a_number, 1}}, memory.cast(), {.straight = out});
    EXPECT_TRUE(std::isnan(out.at(0, 0)));
    EXPECT_EQ(memory.seen(), (Counts{2, 0, 0}));
  }
}

TEST_P(Fp8Cast, EveryValueOfBf16BecomesItsNearestCode) {
  for (const DType dtype : {DType::fp8_e4m3, DType::fp8_e5m2}) {
    HostMatrix x(256, 256, DType::bf16);
    auto* codes = static_cast<std::uint16_t*>(x.view().data);
    for (int code = 0; code < 65536; ++code) codes[code] = static_cast<std::uint16_t>(code);
    const HostMatrix out(256, 256, dtype);
    kernels.cast_to_fp8(x, CastMemory().cast(), {.straight = out});
    EXPECT_TRUE(same_values(out, converted(x, dtype)));
  }
}

/// Within a tile, over its edges, over several of them; rows for 16 bytes and others, with gaps.
TEST_P(Fp8Cast, TransposedAndInBothOrdersItIsTheSameCast) {
  struct Shape {
    std::int64_t rows, cols, x_gap, out_gap;
  };
  Random random(23);
  for (const auto& [rows, cols, x_gap, out_gap] :
       {Shape{1, 1, 0, 0}, Shape{16, 8, 0, 0}, Shape{5, 70, 0, 0}, Shape{128, 64, 0, 0},
        Shape{129, 65, 2, 3}, Shape{144, 136, 8, 16}, Shape{300, 40, 0, 4}, Shape{33, 200, 0, 15},
        Shape{0, 3, 0, 0}}) {
    for (const DType from : {DType::fp32, DType::bf16}) {
      for (const DType to : {DType::fp8_e4m3, DType::fp8_e5m2}) {
        SCOPED_TRACE(::testing::Message()
                     << rows << " x " << cols << " " << to_string(from) << " to " << to_string(to));
        HostMatrix x = random_matrix(random, rows, cols, from, 600, cols + x_gap);
        if (rows > 1) x.set(rows - 1, cols - 1, 0x1p-20);
        const HostMatrix expected(rows, cols, to);
        const CastMemory expected_memory;
        kernels.cast_to_fp8(x, expected_memory.cast(), {.straight = expected});
        for (const bool both : {false, true}) {
          const HostMatrix straight(rows, cols, to, cols + out_gap);
          const HostMatrix transposed(cols, rows, to, rows + out_gap);
          const CastMemory memory;
          Fp8Codes codes{.transposed = transposed};
          if (both) codes.straight = straight;
          kernels.cast_to_fp8(x, memory.cast(), codes);
          if (both) EXPECT_TRUE(same_values(straight, expected));
          for (std::int64_t row = 0; row < rows; ++row) {
            for (std::int64_t col = 0; col < cols; ++col) {
              ASSERT_EQ(transposed.at(col, row), expected.at(row, col)) << row << ", " << col;
            }
          }
          EXPECT_TRUE(straight.gaps_are_untouched());
          EXPECT_TRUE(transposed.gaps_are_untouched());
          EXPECT_EQ(memory.seen(), expected_memory.seen()) << "each element once";
          EXPECT_EQ(memory.maximum.at(0, 0), expected_memory.maximum.at(0, 0));
        }
      }
    }
  }
}

TEST_P(Fp8Cast, ScalesArePowersOfTwoAtWhichNothingOverflows) {
  constexpr double infinite = std::numeric_limits<double>::infinity();
  const auto above = [](double value) {
    return static_cast<double>(std::nextafter(static_cast<float>(value), 1e30f));
  };
  struct Case {
    double amax, e4m3, e5m2;
  };
  for (const auto& [amax, e4m3, e5m2] :
       {Case{3, 128, 0x1p14},            // 448 / 3 = 149.3, 57344 / 3 = 19114.7
        Case{448, 1, 128},               // exactly
        Case{above(448), 0.5, 64},       // no longer
        Case{above(1.75), 128, 0x1p14},  // 448 / 1.75 = 256, whose logarithm rounds to 8
        Case{0x1p127, 0x1p-119, 0x1p-112}, Case{0x1p-100, 0x1p108, 0x1p115},
        Case{0x1p-140, 0x1p126, 0x1p126},  // as far as inverses are normal numbers
        Case{0, 1, 1}, Case{infinite, 1, 1}, Case{not_a_number, 1, 1}}) {
    HostMatrix x(3, 50);
    x.set(1, 7, -amax);
    x.set(0, 0, std::isnan(amax) ? 1 : amax / 2);
    for (const DType format : {DType::fp8_e4m3, DType::fp8_e5m2}) {
      const double expected = format == DType::fp8_e4m3 ? e4m3 : e5m2;
      const HostMatrix scales(1, 2);
      kernels.fp8_scales(x, format, scales);
      EXPECT_TRUE(same_values(scales, HostMatrix{{expected, 1 / expected}})) << amax;
    }
  }
}

}  // namespace
}  // namespace kumihimo::testing
