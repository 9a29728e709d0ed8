#include <cmath>
#include <numbers>

#include "base/check.hpp"
#include "tensor/reference/element.hpp"
#include "tensor/reference/reference_kernels.hpp"

namespace kumihimo::reference {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// gelu(x) = x/2 (1 + tanh(slope (x + cubic x^3))), with slope = sqrt(2/pi).
constexpr double cubic = 0.044715;
constexpr double slope = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;

double gelu_tanh(double x) { return std::tanh(slope * (x + cubic * x * x * x)); }

}  // namespace

void ReferenceKernels::swiglu_forward(const Matrix& x, const Matrix& y) {
  KUMIHIMO_CHECK(has_shape(x, y.rows, 2 * y.cols));
  for (std::int64_t row = 0; row < y.rows; ++row) {
    for (std::int64_t col = 0; col < y.cols; ++col) {
      const double gate = read(x, row, col);
      const double up = read(x, row, y.cols + col);
      write(y, row, col, gate * sigmoid(gate) * up);
    }
  }
}

void ReferenceKernels::swiglu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) {
  KUMIHIMO_CHECK(has_shape(x, d_y.rows, 2 * d_y.cols) && same_shape(x, d_x));
  for (std::int64_t row = 0; row < d_y.rows; ++row) {
    for (std::int64_t col = 0; col < d_y.cols; ++col) {
      const double gate = read(x, row, col);
      const double up = read(x, row, d_y.cols + col);
      const double d = read(d_y, row, col);
      const double s = sigmoid(gate);
      write(d_x, row, col, d * up * s * (1 + gate * (1 - s)));
      write(d_x, row, d_y.cols + col, d * gate * s);
    }
  }
}

void ReferenceKernels::gelu_forward(const Matrix& x, const Matrix& y) {
  KUMIHIMO_CHECK(same_shape(x, y));
  for (std::int64_t row = 0; row < x.rows; ++row) {
    for (std::int64_t col = 0; col < x.cols; ++col) {
      const double value = read(x, row, col);
      write(y, row, col, value / 2 * (1 + gelu_tanh(value)));
    }
  }
}

void ReferenceKernels::gelu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) {
  KUMIHIMO_CHECK(same_shape(x, d_y) && same_shape(x, d_x));
  for (std::int64_t row = 0; row < x.rows; ++row) {
    for (std::int64_t col = 0; col < x.cols; ++col) {
      const double value = read(x, row, col);
      const double t = gelu_tanh(value);
      const double d_inner = slope * (1 + 3 * cubic * value * value);
      const double derivative = (1 + t) / 2 + value / 2 * (1 - t * t) * d_inner;
      write(d_x, row, col, read(d_y, row, col) * derivative);
    }
  }
}

}  // namespace kumihimo::reference
