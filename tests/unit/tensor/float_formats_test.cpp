#include "tensor/float_formats.hpp"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

namespace kumihimo {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

TEST(Bf16, EveryCodeSurvivesTheWayThroughFp32) {
  for (std::uint32_t code = 0; code <= 0xffff; ++code) {
    const auto stored = static_cast<std::uint16_t>(code);
    const float value = from_bf16(stored);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(from_bf16(to_bf16(value)))) << std::hex << code;
    } else {
      EXPECT_EQ(to_bf16(value), stored) << std::hex << code;
    }
  }
}

TEST(Bf16, RoundsToNearestAndTiesToEven) {
  // 8 bits of significand: between 1 and 2 the numbers are 1/128 apart.
  EXPECT_EQ(from_bf16(to_bf16(1 + 0.9f / 256)), 1);
  EXPECT_EQ(from_bf16(to_bf16(1 + 1.0f / 256)), 1);  // tie: 1 is even
  EXPECT_EQ(from_bf16(to_bf16(1 + 1.1f / 256)), 1 + 1.0f / 128);
  EXPECT_EQ(from_bf16(to_bf16(1 + 3.0f / 256)), 1 + 2.0f / 128);  // tie: 2/128 is even
  EXPECT_EQ(from_bf16(to_bf16(-1 - 3.0f / 256)), -1 - 2.0f / 128);
  EXPECT_EQ(from_bf16(to_bf16(2 - 1.0f / 256)), 2);  // carries into the exponent
}

TEST(Bf16, KeepsInfinityNaNAndSignOfZero) {
  EXPECT_EQ(from_bf16(to_bf16(infinity)), infinity);
  EXPECT_EQ(from_bf16(to_bf16(-infinity)), -infinity);
  EXPECT_EQ(from_bf16(to_bf16(std::numeric_limits<float>::max())), infinity);
  EXPECT_TRUE(std::isnan(from_bf16(to_bf16(not_a_number))));
  // A NaN whose payload lies in the lower half only, which cutting would turn into infinity.
  EXPECT_TRUE(std::isnan(from_bf16(to_bf16(std::bit_cast<float>(0x7f80'0001u)))));
  EXPECT_TRUE(std::signbit(from_bf16(to_bf16(-0.0f))));
}

TEST(Fp8E4m3, HasTheNumbersOfTheStandard) {
  EXPECT_EQ(from_fp8(fp8_e4m3_format, 0x01), std::ldexp(1.0f, -9));            // smallest subnormal
  EXPECT_EQ(from_fp8(fp8_e4m3_format, 0x07), std::ldexp(7.0f / 8, -6));        // largest subnormal
  EXPECT_EQ(from_fp8(fp8_e4m3_format, 0x08), std::ldexp(1.0f, -6));            // smallest normal
  EXPECT_EQ(from_fp8(fp8_e4m3_format, 0x38), 1);                               // 2^(7 - 7)
  EXPECT_EQ(from_fp8(fp8_e4m3_format, 0x7e), std::ldexp(1.0f + 6.0f / 8, 8));  // 448
  EXPECT_TRUE(std::isnan(from_fp8(fp8_e4m3_format, 0x7f)));
  EXPECT_TRUE(std::isnan(from_fp8(fp8_e4m3_format, 0xff)));
}

TEST(Fp8E5m2, HasTheNumbersOfTheStandard) {
  EXPECT_EQ(from_fp8(fp8_e5m2_format, 0x01), std::ldexp(1.0f, -16));
  EXPECT_EQ(from_fp8(fp8_e5m2_format, 0x03), std::ldexp(3.0f / 4, -14));
  EXPECT_EQ(from_fp8(fp8_e5m2_format, 0x04), std::ldexp(1.0f, -14));
  EXPECT_EQ(from_fp8(fp8_e5m2_format, 0x3c), 1);                                // 2^(15 - 15)
  EXPECT_EQ(from_fp8(fp8_e5m2_format, 0x7b), std::ldexp(1.0f + 3.0f / 4, 15));  // 57,344
  EXPECT_EQ(from_fp8(fp8_e5m2_format, 0x7c), infinity);
  EXPECT_EQ(from_fp8(fp8_e5m2_format, 0xfc), -infinity);
  for (const int code : {0x7d, 0x7e, 0x7f}) {
    EXPECT_TRUE(std::isnan(from_fp8(fp8_e5m2_format, static_cast<std::uint8_t>(code))));
  }
}

class Fp8 : public testing::TestWithParam<Fp8Format> {
 protected:
  const Fp8Format& format = GetParam();
  std::uint8_t encode(float value) const { return to_fp8(format, value); }
  float decode(int code) const { return from_fp8(format, static_cast<std::uint8_t>(code)); }
};

TEST_P(Fp8, EveryFiniteCodeSurvivesTheWayThroughFp32) {
  for (int code = 0; code < 256; ++code) {
    const float value = decode(code);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(decode(encode(value)))) << code;
    } else if (std::isinf(value)) {
      EXPECT_EQ(decode(encode(value)), std::copysign(format.largest, value)) << code;
    } else {
      EXPECT_EQ(encode(value), code);
    }
  }
}

TEST_P(Fp8, CodesOfOneSignGrowWithTheirValue) {
  for (int code = 0; code < format.largest_code; ++code) {
    EXPECT_LT(decode(code), decode(code + 1)) << code;
  }
}

TEST_P(Fp8, RoundsToTheNearerNeighbourAndTiesToTheEvenCode) {
  for (int code = 0; code < format.largest_code; ++code) {
    const float low = decode(code);
    const float high = decode(code + 1);
    const float tie = (low + high) / 2;  // exact: fp32 has bits to spare
    const int even = code % 2 == 0 ? code : code + 1;
    EXPECT_EQ(encode(tie), even);
    EXPECT_EQ(encode(-tie), even | 0x80);
    EXPECT_EQ(encode(std::nextafter(tie, 0.0f)), code);
    EXPECT_EQ(encode(std::nextafter(tie, infinity)), code + 1);
  }
}

TEST_P(Fp8, SaturatesBeyondTheLargestNumber) {
  EXPECT_EQ(decode(encode(format.largest)), format.largest);
  EXPECT_EQ(decode(encode(format.largest * 1.01f)), format.largest);
  EXPECT_EQ(decode(encode(std::numeric_limits<float>::max())), format.largest);
  EXPECT_EQ(decode(encode(infinity)), format.largest);
  EXPECT_EQ(decode(encode(-infinity)), -format.largest);
}

TEST_P(Fp8, TooSmallBecomesAZeroOfTheSameSign) {
  const float smallest = decode(1);
  EXPECT_EQ(encode(smallest / 2), 0);  // tie: 0 is even
  EXPECT_EQ(encode(std::nextafter(smallest / 2, 1.0f)), 1);
  EXPECT_EQ(encode(-smallest / 4), 0x80);
  EXPECT_EQ(encode(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_EQ(encode(-0.0f), 0x80);
}

TEST_P(Fp8, KeepsNaNAndIsKnownAtCompileTime) {
  static_assert(to_fp8(fp8_e4m3_format, 1.0f) == 0x38);
  static_assert(from_fp8(fp8_e5m2_format, 0x3c) == 1.0f);
  static_assert(to_bf16(1.0f) == 0x3f80);
  EXPECT_TRUE(std::isnan(decode(encode(not_a_number))));
  EXPECT_TRUE(std::isnan(decode(encode(-not_a_number))));
}

INSTANTIATE_TEST_SUITE_P(Formats, Fp8, testing::Values(fp8_e4m3_format, fp8_e5m2_format),
                         [](const auto& each) {
                           return each.param.has_infinity ? "e5m2" : "e4m3";
                         });

}  // namespace
}  // namespace kumihimo
