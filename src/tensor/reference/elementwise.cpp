#include "base/check.hpp"
#include "tensor/reference/element.hpp"
#include "tensor/reference/reference_kernels.hpp"

namespace kumihimo::reference {
namespace {

/// fp64 goes to and from fp32 only, as rounding it twice would not be to nearest.
bool can_copy(DType from, DType to) {
  const auto is_narrow = [](DType dtype) { return dtype == DType::fp32 || dtype == DType::bf16; };
  return from == to || (is_narrow(from) && is_narrow(to)) ||
         (from == DType::fp64 && to == DType::fp32) || (from == DType::fp32 && to == DType::fp64);
}

}  // namespace

void ReferenceKernels::add(const Matrix& a, const Matrix& b, const Matrix& out) {
  KUMIHIMO_CHECK(same_shape(a, b) && same_shape(a, out));
  for (std::int64_t row = 0; row < out.rows; ++row) {
    for (std::int64_t col = 0; col < out.cols; ++col) {
      write(out, row, col, read(a, row, col) + read(b, row, col));
    }
  }
}

void ReferenceKernels::copy(const Matrix& in, const Matrix& out) {
  KUMIHIMO_CHECK(same_shape(in, out) && can_copy(in.dtype, out.dtype));
  for (std::int64_t row = 0; row < in.rows; ++row) {
    for (std::int64_t col = 0; col < in.cols; ++col) write(out, row, col, read(in, row, col));
  }
}

void ReferenceKernels::fill(const Matrix& x, float value) {
  for (std::int64_t row = 0; row < x.rows; ++row) {
    for (std::int64_t col = 0; col < x.cols; ++col) write(x, row, col, value);
  }
}

void ReferenceKernels::scale(const Matrix& x, float factor) {
  for (std::int64_t row = 0; row < x.rows; ++row) {
    for (std::int64_t col = 0; col < x.cols; ++col) {
      write(x, row, col, read(x, row, col) * factor);
    }
  }
}

}  // namespace kumihimo::reference
