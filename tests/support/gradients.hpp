#pragma once

#include <functional>

#include "support/matrices.hpp"

namespace kumihimo::testing {

/// A loss that gives every element of y a gradient of its own: that of y is `weights`.
inline double weighted_sum(const Matrix& y, const Matrix& weights) {
  double sum = 0;
  for (std::int64_t row = 0; row < y.rows; ++row) {
    for (std::int64_t col = 0; col < y.cols; ++col) {
      sum += reference::read(y, row, col) * reference::read(weights, row, col);
    }
  }
  return sum;
}

/// The derivative of `loss`, which reads the fp32 matrix x anew each time, by every element of x,
/// by central differences of fourth order:
///   f' = (8 (f(+h) - f(-h)) - (f(+2h) - f(-2h))) / 12h + O(h^4)
/// so that the step can be wide enough for the rounding of fp32 outputs not to matter: with values
/// around 1 the result is good to about 1e-5.
inline HostMatrix numerical_gradient(HostMatrix& x, const std::function<double()>& loss,
                                     double step = 1.0 / 32) {
  HostMatrix gradient(x.rows(), x.cols());
  for (std::int64_t row = 0; row < x.rows(); ++row) {
    for (std::int64_t col = 0; col < x.cols(); ++col) {
      const double value = x.at(row, col);
      const auto loss_at = [&](double steps) {
        x.set(row, col, value + steps * step);
        return loss();
      };
      const double near = loss_at(1) - loss_at(-1);
      const double far = loss_at(2) - loss_at(-2);
      x.set(row, col, value);
      gradient.set(row, col, (8 * near - far) / (12 * step));
    }
  }
  return gradient;
}

}  // namespace kumihimo::testing
