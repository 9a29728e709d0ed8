#include "base/check.hpp"
#include "tensor/fp8_cast.hpp"
#include "tensor/reference/element.hpp"
#include "tensor/reference/reference_kernels.hpp"

namespace kumihimo::reference {
namespace {

/// Element (row, col) of op(matrix).
double read_operand(const Matrix& matrix, Transpose transpose, std::int64_t row, std::int64_t col) {
  return transpose == Transpose::yes ? read(matrix, col, row) : read(matrix, row, col);
}

}  // namespace

void ReferenceKernels::matmul(const Matrix& a, Transpose transpose_a, const Matrix& b,
                              Transpose transpose_b, const Matrix& c, Accumulate accumulate,
                              const ProductEpilogue& epilogue) {
  const std::int64_t depth = transpose_a == Transpose::yes ? a.rows : a.cols;
  KUMIHIMO_CHECK(c.rows == (transpose_a == Transpose::yes ? a.cols : a.rows));
  KUMIHIMO_CHECK(c.cols == (transpose_b == Transpose::yes ? b.rows : b.cols));
  KUMIHIMO_CHECK(depth == (transpose_b == Transpose::yes ? b.cols : b.rows));
  KUMIHIMO_CHECK(a.dtype == b.dtype || (is_fp8(a.dtype) && is_fp8(b.dtype)));
  KUMIHIMO_CHECK(accumulate == Accumulate::no || c.dtype == DType::fp32);
  check_bias(epilogue, c, accumulate);

  const float factor = factor_of(epilogue);
  for (std::int64_t row = 0; row < c.rows; ++row) {
    for (std::int64_t col = 0; col < c.cols; ++col) {
      double sum = 0;
      for (std::int64_t i = 0; i < depth; ++i) {
        sum += read_operand(a, transpose_a, row, i) * read_operand(b, transpose_b, i, col);
      }
      const double before = accumulate == Accumulate::yes ? read(c, row, col) : 0;
      write(c, row, col, before + factor * sum);
    }
  }
  if (!epilogue.bias.empty()) add_bias(c, epilogue.bias);
}

void ReferenceKernels::add_bias(const Matrix& x, const Matrix& bias) {
  KUMIHIMO_CHECK(has_shape(bias, 1, x.cols));
  for (std::int64_t row = 0; row < x.rows; ++row) {
    for (std::int64_t col = 0; col < x.cols; ++col) add_to(x, row, col, read(bias, 0, col));
  }
}

void ReferenceKernels::bias_backward(const Matrix& d_y, const Matrix& d_bias) {
  KUMIHIMO_CHECK(has_shape(d_bias, 1, d_y.cols) && d_bias.dtype == DType::fp32);
  for (std::int64_t col = 0; col < d_y.cols; ++col) {
    double sum = 0;
    for (std::int64_t row = 0; row < d_y.rows; ++row) sum += read(d_y, row, col);
    add_to(d_bias, 0, col, sum);
  }
}

}  // namespace kumihimo::reference
