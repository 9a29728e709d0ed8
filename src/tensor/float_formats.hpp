#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace kumihimo {

// Scalar conversions between fp32 and the narrow formats in which matrices are stored. All round to
// nearest, ties to even, and keep NaN. They assume the default rounding mode.

/// The upper half of an fp32. What rounds beyond the largest bf16 becomes infinite, as in fp32.
constexpr std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  // Cutting a NaN could leave an infinity: keep it quiet instead.
  if (value != value) return static_cast<std::uint16_t>((bits >> 16) | 0x0040);
  // Half a unit in the last place, less one where the result is even already. The carry may run
  // into the exponent, which is the next number of the format.
  const std::uint32_t half = 0x7fff + ((bits >> 16) & 1);
  return static_cast<std::uint16_t>((bits + half) >> 16);
}

constexpr float from_bf16(std::uint16_t code) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(code) << 16);
}

/// Eight bits: a sign, an exponent, `mantissa_bits` of mantissa. OCP formats (Micikevicius et al.
/// 2022, arXiv:2209.05433).
struct Fp8Format {
  int mantissa_bits;
  int exponent_bias;
  float largest;              ///< finite number
  std::uint8_t largest_code;  ///< every code above it is a NaN, or the infinity if there is one
  bool has_infinity;
};

inline constexpr Fp8Format fp8_e4m3_format{3, 7, 448, 0x7e, false};
inline constexpr Fp8Format fp8_e5m2_format{2, 15, 57344, 0x7b, true};

/// 2^exponent, for normal numbers.
constexpr float power_of_two(int exponent) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(exponent + 127) << 23);
}

/// What lies beyond the largest number, infinity included, becomes the largest number.
constexpr std::uint8_t to_fp8(const Fp8Format& format, float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 24) & 0x80;
  const std::uint32_t magnitude_bits = bits & 0x7fff'ffff;
  const auto magnitude = std::bit_cast<float>(magnitude_bits);
  const int dropped_bits = 23 - format.mantissa_bits;
  const int smallest_exponent = 1 - format.exponent_bias;  // of a normal number

  std::uint32_t code = 0;
  if (value != value) {
    code = 0x7f;
  } else if (magnitude >= format.largest) {
    code = format.largest_code;
  } else if (magnitude < power_of_two(smallest_exponent)) {
    // A multiple of the smallest subnormal. Added to a number whose last place is just that, it is
    // rounded by the addition, and the sum's last bits are the code.
    const float anchor = power_of_two(smallest_exponent + dropped_bits);
    code = std::bit_cast<std::uint32_t>(anchor + magnitude) - std::bit_cast<std::uint32_t>(anchor);
  } else {
    const std::uint32_t last_kept = (magnitude_bits >> dropped_bits) & 1;
    const std::uint32_t half = (1u << (dropped_bits - 1)) - 1 + last_kept;
    const auto rebias = static_cast<std::uint32_t>(127 - format.exponent_bias);
    code = ((magnitude_bits + half) >> dropped_bits) - (rebias << format.mantissa_bits);
  }
  return static_cast<std::uint8_t>(sign | code);
}

constexpr float from_fp8(const Fp8Format& format, std::uint8_t code) {
  const std::uint32_t magnitude_code = code & 0x7f;
  const int dropped_bits = 23 - format.mantissa_bits;
  const auto rebias = static_cast<std::uint32_t>(127 - format.exponent_bias);

  float magnitude = 0;
  if (magnitude_code > format.largest_code) {
    const bool infinite = format.has_infinity && magnitude_code == format.largest_code + 1u;
    magnitude =
        infinite ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  } else if (magnitude_code < (1u << format.mantissa_bits)) {  // subnormal
    magnitude = static_cast<float>(magnitude_code) *
                power_of_two(1 - format.exponent_bias - format.mantissa_bits);
  } else {
    magnitude = std::bit_cast<float>((magnitude_code << dropped_bits) + (rebias << 23));
  }
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

/// The largest power of two that does not take `amax` beyond the format's largest number, so that
/// scaling itself rounds nothing; 1 where amax is 0, infinite or NaN. At most 2^126, whose inverse
/// is still a normal number.
constexpr float fp8_scale(const Fp8Format& format, float amax) {
  if (!(amax > 0) || amax > std::numeric_limits<float>::max()) return 1;
  const float ratio = format.largest / amax;
  if (ratio >= power_of_two(126)) return power_of_two(126);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(ratio) & 0x7f80'0000);  // no mantissa
}

}  // namespace kumihimo
