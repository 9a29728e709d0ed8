#include <algorithm>
#include <atomic>
#include <bit>

#include "base/check.hpp"
#include "tensor/cpu/cpu_kernels.hpp"
#include "tensor/cpu/elements.hpp"
#include "tensor/fp8_cast.hpp"

#ifndef KUMIHIMO_TENSOR_CPU_CAST_REPORT
#define KUMIHIMO_TENSOR_CPU_CAST_REPORT
namespace kumihimo::cpu {
namespace {

/// What a cast saw of its elements.
struct CastReport {
  std::uint32_t largest_magnitude = 0;  ///< bits, as below
  std::int64_t overflowed = 0, underflowed = 0;
};

}  // namespace
}  // namespace kumihimo::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/fp8.cpp"
#include <hwy/foreach_target.h>
// After the line above, which includes this file again for each instruction set.
#include "tensor/cpu/vectors-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kumihimo::cpu::HWY_NAMESPACE {

using ByteTag = hn::Rebind<std::uint8_t, FloatTag>;

HWY_INLINE Bits magnitude_bits_of(Floats v) {
  return hn::And(bits_of(v), hn::Set(BitTag(), 0x7fff'ffff));
}

/// The largest magnitude as the bits of a float. Bits of magnitudes are in the order of the
/// magnitudes, and those of a NaN above all of them.
std::uint32_t largest_magnitude_rows(const Matrix& x) {
  const BitTag d;
  Bits largest = hn::Zero(d);
  with_type(x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < x.rows; ++row) {
      const T* from = row_of<T>(x, row);
      over(x.cols, [&](std::size_t i, auto io) HWY_ATTR {
        largest = hn::Max(largest, magnitude_bits_of(io.load(from + i)));
      });
    }
  });
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

/// Codes of `value`, one in each 32 bits: to_fp8 of tensor/float_formats.hpp, in vectors.
HWY_INLINE Bits fp8_codes(const Fp8Format& format, Floats value) {
  const BitTag d;
  const Bits bits = bits_of(value);
  const Bits sign = hn::And(hn::ShiftRight<24>(bits), hn::Set(d, 0x80));
  const Bits magnitude_bits = hn::And(bits, hn::Set(d, 0x7fff'ffff));
  const Floats magnitude = floats_of(magnitude_bits);
  const int dropped_bits = 23 - format.mantissa_bits;
  const int smallest_exponent = 1 - format.exponent_bias;

  const Floats anchor = all(power_of_two(smallest_exponent + dropped_bits));
  const Bits subnormal = hn::Sub(bits_of(hn::Add(anchor, magnitude)), bits_of(anchor));

  const Bits last_kept = hn::And(hn::ShiftRightSame(magnitude_bits, dropped_bits), hn::Set(d, 1));
  const Bits half = hn::Add(last_kept, hn::Set(d, (1u << (dropped_bits - 1)) - 1));
  const auto rebias = static_cast<std::uint32_t>(127 - format.exponent_bias)
                      << format.mantissa_bits;
  const Bits normal =
      hn::Sub(hn::ShiftRightSame(hn::Add(magnitude_bits, half), dropped_bits), hn::Set(d, rebias));

  const auto is_subnormal =
      hn::RebindMask(d, hn::Lt(magnitude, all(power_of_two(smallest_exponent))));
  const auto is_large = hn::RebindMask(d, hn::Ge(magnitude, all(format.largest)));
  Bits code = hn::IfThenElse(is_subnormal, subnormal, normal);
  code = hn::IfThenElse(is_large, hn::Set(d, format.largest_code), code);
  code = hn::IfThenElse(hn::RebindMask(d, hn::IsNaN(value)), hn::Set(d, 0x7f), code);
  return hn::Or(code, sign);
}

CastReport cast_rows(const Matrix& x, float scale, const Matrix& out) {
  const Fp8Format& format = fp8_format_of(out.dtype);
  const FloatTag d;
  CastReport report;
  Bits largest = hn::Zero(BitTag());
  with_type(x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < x.rows; ++row) {
      const T* from = row_of<T>(x, row);
      std::uint8_t* to = row_of<std::uint8_t>(out, row);
      over(x.cols, [&](std::size_t i, auto io) HWY_ATTR {
        const Floats v = io.load(from + i);
        largest = hn::Max(largest, magnitude_bits_of(v));
        const Floats scaled = hn::Mul(v, all(scale));
        const Bits codes = fp8_codes(format, scaled);
        // Lanes beyond the row are zero, which fits.
        const auto overflows = hn::Gt(hn::Abs(scaled), all(format.largest));
        const Bits without_sign = hn::And(codes, hn::Set(BitTag(), 0x7f));
        const auto vanished = hn::RebindMask(d, hn::Eq(without_sign, hn::Zero(BitTag())));
        const auto underflows = hn::And(vanished, hn::Ne(v, zeros()));
        report.overflowed += static_cast<std::int64_t>(hn::CountTrue(d, overflows));
        report.underflowed += static_cast<std::int64_t>(hn::CountTrue(d, underflows));
        std::uint8_t bytes[lanes];
        hn::StoreU(hn::U8FromU32(codes), ByteTag(), bytes);
        std::memcpy(to + i, bytes, std::min(lanes, static_cast<std::size_t>(x.cols) - i));
      });
    }
  });
  report.largest_magnitude = hn::GetLane(hn::MaxOfLanes(BitTag(), largest));
  return report;
}

/// bf16 of fp8. Exponent and mantissa, moved to where a float has them, make a float that is too
/// small by the difference of the biases alone; subnormals too, for it is then subnormal itself.
void widen_rows(const Matrix& in, const Matrix& out) {
  const BitTag d;
  const Fp8Format& format = fp8_format_of(in.dtype);
  const int dropped_bits = 23 - format.mantissa_bits;
  const Floats rebias = all(power_of_two(127 - format.exponent_bias));
  for (std::int64_t row = 0; row < in.rows; ++row) {
    const std::uint8_t* from = row_of<std::uint8_t>(in, row);
    std::uint16_t* to = row_of<std::uint16_t>(out, row);
    over(in.cols, [&](std::size_t i, auto io) HWY_ATTR {
      std::uint8_t bytes[lanes] = {};
      std::memcpy(bytes, from + i, std::min(lanes, static_cast<std::size_t>(in.cols) - i));
      const Bits codes = hn::PromoteTo(d, hn::LoadU(ByteTag(), bytes));
      const Bits magnitude_codes = hn::And(codes, hn::Set(d, 0x7f));
      const Bits moved = hn::ShiftLeftSame(magnitude_codes, dropped_bits);
      const Bits finite = bits_of(hn::Mul(floats_of(moved), rebias));
      const Bits special = hn::Or(moved, hn::Set(d, 0x7f80'0000));
      const auto is_special = hn::Gt(magnitude_codes, hn::Set(d, format.largest_code));
      const Bits sign = hn::ShiftLeft<24>(hn::And(codes, hn::Set(d, 0x80)));
      io.store(floats_of(hn::Or(sign, hn::IfThenElse(is_special, special, finite))), to + i);
    });
  }
}

}  // namespace kumihimo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kumihimo::cpu {
namespace {

HWY_EXPORT(largest_magnitude_rows);
HWY_EXPORT(cast_rows);
HWY_EXPORT(widen_rows);

void raise(std::atomic<std::uint32_t>& largest, std::uint32_t found) {
  std::uint32_t before = largest.load();
  while (before < found && !largest.compare_exchange_weak(before, found)) {
  }
}

void transpose_bytes(const Matrix& in, const Matrix& out) {
  const auto* from = static_cast<const std::uint8_t*>(in.data);
  auto* to = static_cast<std::uint8_t*>(out.data);
  for (std::int64_t row = 0; row < in.rows; ++row) {
    for (std::int64_t col = 0; col < in.cols; ++col) {
      to[col * out.stride + row] = from[row * in.stride + col];
    }
  }
}

}  // namespace

void widen(const Team& team, const Matrix& in, const Matrix& out) {
  KUMIHIMO_CHECK(same_shape(in, out));
  if (!is_fp8(in.dtype)) {
    copy(team, in, out);
    return;
  }
  KUMIHIMO_CHECK(out.dtype == DType::bf16);
  team.for_elements(HWY_DYNAMIC_DISPATCH(widen_rows), in, out);
}

// Maxima and counts are the same in any order, so the pieces of a team may meet in atomics.

void CpuKernels::fp8_scales(const Matrix& x, DType format, const Matrix& scales) {
  KUMIHIMO_CHECK(x.dtype == DType::fp32 || x.dtype == DType::bf16);
  check_scales(scales);
  std::atomic<std::uint32_t> largest = 0;
  team_.for_elements(
      [&](const Matrix& part) {
        raise(largest, HWY_DYNAMIC_DISPATCH(largest_magnitude_rows)(part));
      },
      x);
  auto* const values = static_cast<float*>(scales.data);
  values[0] = fp8_scale(fp8_format_of(format), std::bit_cast<float>(largest.load()));
  values[1] = 1 / values[0];
}

void CpuKernels::cast_to_fp8(const Matrix& x, const Fp8Cast& cast, const Fp8Codes& codes) {
  KUMIHIMO_CHECK(x.dtype == DType::fp32 || x.dtype == DType::bf16);
  check_cast(x, cast, codes);
  const Workspace::Scope scope(workspace_);
  const Matrix straight =
      codes.straight.empty() ? workspace_.take(x.rows, x.cols, dtype_of(codes)) : codes.straight;
  const float scale = *static_cast<const float*>(cast.scales.data);
  auto& maximum = *static_cast<float*>(cast.maximum.data);
  std::atomic<std::uint32_t> largest = std::bit_cast<std::uint32_t>(maximum) & 0x7fff'ffff;
  std::atomic<std::int64_t> overflowed = 0, underflowed = 0;
  team_.for_elements(
      [&](const Matrix& from, const Matrix& to) {
        const CastReport report = HWY_DYNAMIC_DISPATCH(cast_rows)(from, scale, to);
        raise(largest, report.largest_magnitude);
        overflowed += report.overflowed;
        underflowed += report.underflowed;
      },
      x, straight);
  if (!codes.transposed.empty()) transpose_bytes(straight, codes.transposed);
  maximum = std::bit_cast<float>(largest.load());
  auto* const counts = static_cast<double*>(cast.counts.data);
  counts[0] += static_cast<double>(x.elements());
  counts[1] += static_cast<double>(overflowed.load());
  counts[2] += static_cast<double>(underflowed.load());
}

}  // namespace kumihimo::cpu
#endif
