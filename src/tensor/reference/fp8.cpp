#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/fp8_cast.hpp"
#include "tensor/reference/element.hpp"
#include "tensor/reference/reference_kernels.hpp"

namespace kumihimo::reference {
namespace {

/// The larger, or NaN where either is.
double larger(double a, double b) {
  return std::isnan(a) || std::isnan(b) ? a + b : std::max(a, b);
}

}  // namespace

void ReferenceKernels::fp8_scales(const Matrix& x, DType format, const Matrix& scales) {
  check_scales(scales);
  double maximum = 0;
  for (std::int64_t row = 0; row < x.rows; ++row) {
    for (std::int64_t col = 0; col < x.cols; ++col) {
      maximum = larger(maximum, std::abs(read(x, row, col)));
    }
  }
  const float scale = fp8_scale(fp8_format_of(format), static_cast<float>(maximum));
  write(scales, 0, 0, scale);
  write(scales, 0, 1, 1 / scale);
}

void ReferenceKernels::cast_to_fp8(const Matrix& x, const Fp8Cast& cast, const Fp8Codes& codes) {
  check_cast(x, cast, codes);
  const Fp8Format& format = fp8_format_of(dtype_of(codes));
  const auto scale = static_cast<float>(read(cast.scales, 0, 0));
  double maximum = read(cast.maximum, 0, 0);
  std::int64_t overflowed = 0, underflowed = 0;
  for (std::int64_t row = 0; row < x.rows; ++row) {
    for (std::int64_t col = 0; col < x.cols; ++col) {
      const double before = read(x, row, col);
      maximum = larger(maximum, std::abs(before));
      // In fp32, as everywhere: the product decides which way a tie goes.
      const float value = static_cast<float>(before) * scale;
      double after = 0;
      if (!codes.straight.empty()) {
        write(codes.straight, row, col, value);
        after = read(codes.straight, row, col);
      }
      if (!codes.transposed.empty()) {
        write(codes.transposed, col, row, value);
        after = read(codes.transposed, col, row);
      }
      if (std::abs(value) > format.largest) ++overflowed;
      if (before != 0 && after == 0) ++underflowed;
    }
  }
  write(cast.maximum, 0, 0, maximum);
  add_to(cast.counts, 0, 0, static_cast<double>(x.elements()));
  add_to(cast.counts, 0, 1, static_cast<double>(overflowed));
  add_to(cast.counts, 0, 2, static_cast<double>(underflowed));
}

}  // namespace kumihimo::reference
