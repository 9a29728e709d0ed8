#include <cmath>
#include <gtest/gtest.h>
#include <limits>

#include "support/backends.hpp"
#include "support/matrices.hpp"

namespace kumihimo::testing {
namespace {

class Fp8Cast : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(On, Fp8Cast, ::testing::ValuesIn(host_backends()), backend_name);

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

TEST_P(Fp8Cast, TheLargestMagnitudeSeesSignsGapsAndNaN) {
  const HostMatrix x({{1, -7}, {3, 2}}, DType::bf16);
  EXPECT_EQ(kernels.absolute_maximum(x), 7);
  Random random(22);
  const HostMatrix gapped = random_matrix(random, 3, 5, DType::fp32, 2, 9);  // gaps are NaN
  EXPECT_LE(kernels.absolute_maximum(gapped), 2);
  for (std::int64_t col = 0; col < 37; ++col) {
    HostMatrix with_nan = random_matrix(random, 1, 37);
    with_nan.set(0, col, not_a_number);
    EXPECT_TRUE(std::isnan(kernels.absolute_maximum(with_nan))) << col;
  }
}

TEST_P(Fp8Cast, ScalesRoundsSaturatesAndCounts) {
  // Between 1 and 2, e4m3 numbers are 1/8 apart: 1.0625 is a tie, which goes to the even 1.
  const HostMatrix x{{0.5, 1.0625 / 2, 225, -1000, 0x1p-12, 0}};
  const HostMatrix out(1, 6, DType::fp8_e4m3);
  const Fp8CastCounts counts = kernels.cast_to_fp8(x, 2, out);
  EXPECT_TRUE(same_values(out, HostMatrix{{1, 1, 448, -448, 0, 0}}));
  EXPECT_EQ(counts.elements, 6);
  EXPECT_EQ(counts.overflowed, 2);   // 450 and -2000
  EXPECT_EQ(counts.underflowed, 1);  // 2^-11: the smallest is 2^-9; 0 was 0 before
}

TEST_P(Fp8Cast, E5m2ReachesFarther) {
  const HostMatrix x({{50000, 57344, 60000, 0x1p-16, 0x1p-18, -0x1p-17}}, DType::fp32);
  const HostMatrix out(1, 6, DType::fp8_e5m2);
  const Fp8CastCounts counts = kernels.cast_to_fp8(x, 1, out);
  // 49,152 and 57,344 are neighbours; -2^-17 is a tie between 0 and the smallest.
  EXPECT_TRUE(same_values(out, HostMatrix{{49152, 57344, 57344, 0x1p-16, 0, 0}}));
  EXPECT_EQ(counts.overflowed, 1);
  EXPECT_EQ(counts.underflowed, 2);
}

TEST_P(Fp8Cast, KeepsNaNAndCountsItAsNeither) {
  for (const DType dtype : {DType::fp8_e4m3, DType::fp8_e5m2}) {
    const HostMatrix out(1, 2, dtype);
    const Fp8CastCounts counts = kernels.cast_to_fp8(HostMatrix{{not_a_number, 1}}, 1, out);
    EXPECT_TRUE(std::isnan(out.at(0, 0)));
    EXPECT_EQ(counts.overflowed, 0);
    EXPECT_EQ(counts.underflowed, 0);
  }
}

TEST_P(Fp8Cast, EveryValueOfBf16BecomesItsNearestCode) {
  for (const DType dtype : {DType::fp8_e4m3, DType::fp8_e5m2}) {
    HostMatrix x(256, 256, DType::bf16);
    auto* codes = static_cast<std::uint16_t*>(x.view().data);
    for (int code = 0; code < 65536; ++code) codes[code] = static_cast<std::uint16_t>(code);
    const HostMatrix out(256, 256, dtype);
    kernels.cast_to_fp8(x, 1, out);
    EXPECT_TRUE(same_values(out, converted(x, dtype)));
  }
}

}  // namespace
}  // namespace kumihimo::testing
