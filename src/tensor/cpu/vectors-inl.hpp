// Vectors of floats over rows of fp32 or bf16, for the instruction set that Highway is compiling
// for: each including file is compiled once per set (hwy/foreach_target.h), and so is this one.
#if defined(KUMIHIMO_TENSOR_CPU_VECTORS) == defined(HWY_TARGET_TOGGLE)
#ifdef KUMIHIMO_TENSOR_CPU_VECTORS
#undef KUMIHIMO_TENSOR_CPU_VECTORS
#else
#define KUMIHIMO_TENSOR_CPU_VECTORS
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <hwy/highway.h>
#include <limits>

#include "tensor/matrix.hpp"

HWY_BEFORE_NAMESPACE();
namespace kumihimo::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using Floats = hn::Vec<FloatTag>;
using BitTag = hn::RebindToUnsigned<FloatTag>;
using Bits = hn::Vec<BitTag>;
using HalfTag = hn::Rebind<std::uint16_t, FloatTag>;

inline constexpr std::size_t lanes = HWY_LANES(float);

HWY_INLINE Floats all(float value) { return hn::Set(FloatTag(), value); }
HWY_INLINE Floats zeros() { return hn::Zero(FloatTag()); }
HWY_INLINE Bits bits_of(Floats v) { return hn::BitCast(BitTag(), v); }
HWY_INLINE Floats floats_of(Bits v) { return hn::BitCast(FloatTag(), v); }

HWY_INLINE Floats load(const float* at) { return hn::LoadU(FloatTag(), at); }
HWY_INLINE void store(Floats v, float* at) { hn::StoreU(v, FloatTag(), at); }

/// bf16: the upper half of a float.
HWY_INLINE Floats load(const std::uint16_t* at) {
  return floats_of(hn::ShiftLeft<16>(hn::PromoteTo(BitTag(), hn::LoadU(HalfTag(), at))));
}
/// Rounds to nearest, ties to even, and keeps NaN, as to_bf16 does (tensor/float_formats.hpp). The
/// processor's own conversion would flush subnormal numbers.
HWY_INLINE void store(Floats v, std::uint16_t* at) {
  const BitTag d;
  const Bits bits = bits_of(v);
  const Bits is_odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1));
  const Bits rounded = hn::Add(bits, hn::Add(is_odd, hn::Set(d, 0x7fff)));
  const Bits quiet = hn::Or(bits, hn::Set(d, 0x0040'0000));
  const auto is_nan = hn::RebindMask(d, hn::IsNaN(v));
  const Bits upper = hn::ShiftRight<16>(hn::IfThenElse(is_nan, quiet, rounded));
  hn::StoreU(hn::TruncateTo(HalfTag(), upper), HalfTag(), at);
}

/// How a loop body reads and writes: a whole vector,
struct Whole {
  template <class T>
  HWY_INLINE Floats load(const T* at) const {
    return HWY_NAMESPACE::load(at);
  }
  template <class T>
  HWY_INLINE void store(Floats v, T* at) const {
    HWY_NAMESPACE::store(v, at);
  }
  /// v where there are elements, `other` beyond them.
  HWY_INLINE Floats keep(Floats v, Floats /*other*/) const { return v; }
};

/// or the last few elements of a row; lanes beyond them read as zero and are not written.
struct Some {
  std::size_t count;

  template <class T>
  HWY_INLINE Floats load(const T* at) const {
    T padded[lanes] = {};
    std::memcpy(padded, at, count * sizeof(T));
    return HWY_NAMESPACE::load(padded);
  }
  template <class T>
  HWY_INLINE void store(Floats v, T* at) const {
    T padded[lanes];
    HWY_NAMESPACE::store(v, padded);
    std::memcpy(at, padded, count * sizeof(T));
  }
  HWY_INLINE Floats keep(Floats v, Floats other) const {
    return hn::IfThenElse(hn::FirstN(FloatTag(), count), v, other);
  }
};

/// body(i, io) for the vectors that start at element i of `count`; the body is a lambda marked
/// HWY_ATTR that takes (std::size_t, auto).
template <class Body>
HWY_INLINE void over(std::int64_t count, const Body& body) {
  const auto n = static_cast<std::size_t>(count);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) body(i, Whole{});
  if (i < n) body(i, Some{n - i});
}

/// body(T{}) with the type in which `dtype` is stored: float or std::uint16_t (bf16).
template <class Body>
HWY_INLINE void with_type(DType dtype, const Body& body) {
  if (dtype == DType::fp32) {
    body(float{});
  } else {
    body(std::uint16_t{});
  }
}

template <class T>
HWY_INLINE T* row_of(const Matrix& matrix, std::int64_t row) {
  return static_cast<T*>(matrix.data) + row * matrix.stride;
}

HWY_INLINE float sum_of(Floats v) { return hn::GetLane(hn::SumOfLanes(FloatTag(), v)); }
HWY_INLINE float maximum_of(Floats v) { return hn::GetLane(hn::MaxOfLanes(FloatTag(), v)); }

/// e^x with a relative error below 2e-7; 0 below -87.3, the largest power of two above 88.4, NaN of
/// NaN. x = n ln 2 + r with |r| <= ln 2 / 2, and e^r = 1 + r + r^2 p(r), p fitted for the smallest
/// relative error.
HWY_INLINE Floats exponential(Floats x) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  constexpr float smallest = -87.33655f, largest = 88.37626f;
  const auto vanishes = hn::Lt(x, all(smallest));
  // Of a NaN and a number, Min and Max return the second operand.
  x = hn::Min(all(largest), hn::Max(all(smallest), x));
  const Floats n = hn::Round(hn::Mul(x, all(1.442695041f)));
  // ln 2 in two parts, the first with so few bits that its products with n are exact.
  Floats r = hn::NegMulAdd(n, all(0.693359375f), x);
  r = hn::NegMulAdd(n, all(-2.12194440e-4f), r);
  Floats p = hn::MulAdd(r, all(0.00138145847f), all(0.00836872385f));
  p = hn::MulAdd(p, r, all(0.0416683887f));
  p = hn::MulAdd(p, r, all(0.166665206f));
  p = hn::MulAdd(p, r, all(0.499999934f));
  p = hn::MulAdd(hn::Mul(r, r), p, hn::Add(r, all(1)));
  const auto power = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127)));
  return hn::IfThenZeroElse(vanishes, hn::Mul(p, hn::BitCast(d, power)));
}

/// 1 / (1 + e^-x)
HWY_INLINE Floats sigmoid(Floats x) {
  return hn::Div(all(1), hn::Add(all(1), exponential(hn::Neg(x))));
}

}  // namespace kumihimo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
