#pragma once

#include "base/check.hpp"
#include "tensor/float_formats.hpp"
#include "tensor/kernels.hpp"

// What back ends share of fp8.

namespace kumihimo {

inline const Fp8Format& fp8_format_of(DType dtype) {
  KUMIHIMO_CHECK(is_fp8(dtype));
  return dtype == DType::fp8_e4m3 ? fp8_e4m3_format : fp8_e5m2_format;
}

inline void check_scales(const Matrix& scales) {
  KUMIHIMO_CHECK(has_shape(scales, 1, 2) && scales.dtype == DType::fp32);
}

/// That of a cast's codes.
inline DType dtype_of(const Fp8Codes& codes) {
  return is_fp8(codes.straight.dtype) ? codes.straight.dtype : codes.transposed.dtype;
}

/// The arguments of Kernels::cast_to_fp8.
inline void check_cast(const Matrix& x, const Fp8Cast& cast, const Fp8Codes& codes) {
  const DType dtype = dtype_of(codes);
  KUMIHIMO_CHECK(is_fp8(dtype));
  if (!codes.straight.empty()) KUMIHIMO_CHECK(same_shape(x, codes.straight));
  if (!codes.transposed.empty()) {
    KUMIHIMO_CHECK(has_shape(codes.transposed, x.cols, x.rows) && codes.transposed.dtype == dtype);
  }
  check_scales(cast.scales);
  KUMIHIMO_CHECK(has_shape(cast.maximum, 1, 1) && cast.maximum.dtype == DType::fp32);
  KUMIHIMO_CHECK(has_shape(cast.counts, 1, 3) && cast.counts.dtype == DType::fp64);
}

/// The bias of Kernels::matmul.
inline void check_bias(const ProductEpilogue& epilogue, const Matrix& c, Accumulate accumulate) {
  if (epilogue.bias.empty()) return;
  KUMIHIMO_CHECK(has_shape(epilogue.bias, 1, c.cols) && epilogue.bias.dtype == c.dtype);
  KUMIHIMO_CHECK(accumulate == Accumulate::no);
}

/// alpha scale_a scale_b, where they are in the host's memory.
inline float factor_of(const ProductEpilogue& epilogue) {
  const auto value = [](const Matrix& scale) {
    if (scale.empty()) return 1.0f;
    KUMIHIMO_CHECK(has_shape(scale, 1, 1) && scale.dtype == DType::fp32);
    return *static_cast<const float*>(scale.data);
  };
  return epilogue.alpha * (value(epilogue.scale_a) * value(epilogue.scale_b));
}

}  // namespace kumihimo
