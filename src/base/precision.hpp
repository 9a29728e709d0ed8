#pragma once

#include <array>
#include <string_view>

namespace kumihimo {

/// Number formats of matrix products. fp8 means: linear layers in fp8, everything else in bf16.
enum class Precision { fp32, tf32, fp16, bf16, fp8 };

inline constexpr std::array<Precision, 5> all_precisions{
    Precision::fp32, Precision::tf32, Precision::fp16, Precision::bf16, Precision::fp8};

constexpr std::string_view to_string(Precision precision) {
  switch (precision) {
    case Precision::fp32: return "fp32";
    case Precision::tf32: return "tf32";
    case Precision::fp16: return "fp16";
    case Precision::bf16: return "bf16";
    case Precision::fp8: return "fp8";
  }
  return "?";
}

/// The format in which layers of that precision keep and hand on what they compute: fp8 flows as
/// bf16, only the operands of its matrix products are single bytes; tf32 is a mode of the
/// multiplier, not a storage.
constexpr Precision stored_as(Precision precision) {
  switch (precision) {
    case Precision::tf32: return Precision::fp32;
    case Precision::fp8: return Precision::bf16;
    default: return precision;
  }
}

/// Bytes of one weight or activation element as the layers pass it on.
constexpr int element_bytes(Precision precision) {
  return stored_as(precision) == Precision::fp32 ? 4 : 2;
}

}  // namespace kumihimo
