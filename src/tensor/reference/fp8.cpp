#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.hpp"
#include "tensor/reference/element.hpp"
#include "tensor/reference/reference_kernels.hpp"

namespace kumihimo::reference {

float ReferenceKernels::absolute_maximum(const Matrix& x) {
  double maximum = 0;
  for (std::int64_t row = 0; row < x.rows; ++row) {
    for (std::int64_t col = 0; col < x.cols; ++col) {
      const double magnitude = std::abs(read(x, row, col));
      if (std::isnan(magnitude)) return std::numeric_limits<float>::quiet_NaN();
      maximum = std::max(maximum, magnitude);
    }
  }
  return static_cast<float>(maximum);
}

Fp8CastCounts ReferenceKernels::cast_to_fp8(const Matrix& x, float scale, const Matrix& out) {
  KUMIHIMO_CHECK(same_shape(x, out));
  KUMIHIMO_CHECK(out.dtype == DType::fp8_e4m3 || out.dtype == DType::fp8_e5m2);
  const Fp8Format& format = out.dtype == DType::fp8_e4m3 ? fp8_e4m3_format : fp8_e5m2_format;
  Fp8CastCounts counts;
  counts.elements = x.elements();
  for (std::int64_t row = 0; row < x.rows; ++row) {
    for (std::int64_t col = 0; col < x.cols; ++col) {
      // In fp32, as everywhere: the product decides which way a tie goes.
      const float value = static_cast<float>(read(x, row, col)) * scale;
      write(out, row, col, value);
      if (std::abs(value) > format.largest) ++counts.overflowed;
      if (read(x, row, col) != 0 && read(out, row, col) == 0) ++counts.underflowed;
    }
  }
  return counts;
}

}  // namespace kumihimo::reference
