#include <cmath>

#include "base/check.hpp"
#include "tensor/reference/element.hpp"
#include "tensor/reference/reference_kernels.hpp"

namespace kumihimo::reference {

void ReferenceKernels::sum_of_squares(const Matrix& x, const Matrix& sum) {
  KUMIHIMO_CHECK(has_shape(sum, 1, 1) && sum.dtype == DType::fp64);
  double squares = 0;
  for (std::int64_t row = 0; row < x.rows; ++row) {
    for (std::int64_t col = 0; col < x.cols; ++col) {
      const double value = read(x, row, col);
      squares += value * value;
    }
  }
  add_to(sum, 0, 0, squares);
}

void ReferenceKernels::adamw(const AdamW& step, const Matrix& gradient, const Matrix& master,
                             const Matrix& m, const Matrix& v, const Matrix& weights) {
  const std::int64_t count = master.cols;
  KUMIHIMO_CHECK(has_shape(master, 1, count) && same_shape(gradient, master));
  KUMIHIMO_CHECK(same_shape(m, master) && same_shape(v, master));
  KUMIHIMO_CHECK(weights.empty() || same_shape(weights, master));
  const double beta1 = step.beta1;
  const double beta2 = step.beta2;
  const double learning_rate = step.learning_rate;

  for (std::int64_t i = 0; i < count; ++i) {
    const double g = read(gradient, 0, i) * step.gradient_scale;
    const double first_moment = beta1 * read(m, 0, i) + (1 - beta1) * g;
    const double second_moment = beta2 * read(v, 0, i) + (1 - beta2) * g * g;
    const double decayed = read(master, 0, i) * (1 - learning_rate * step.weight_decay);
    const double direction = first_moment / step.correction1 /
                             (std::sqrt(second_moment / step.correction2) + step.epsilon);
    write(m, 0, i, first_moment);
    write(v, 0, i, second_moment);
    write(master, 0, i, decayed - learning_rate * direction);
    if (!weights.empty()) write(weights, 0, i, read(master, 0, i));
  }
}

void ReferenceKernels::sgd(const Sgd& step, const Matrix& gradient, const Matrix& master,
                           const Matrix& m, const Matrix& weights) {
  const std::int64_t count = master.cols;
  KUMIHIMO_CHECK(has_shape(master, 1, count) && same_shape(gradient, master));
  KUMIHIMO_CHECK(same_shape(m, master));
  KUMIHIMO_CHECK(weights.empty() || same_shape(weights, master));
  const double learning_rate = step.learning_rate;

  for (std::int64_t i = 0; i < count; ++i) {
    const double g = read(gradient, 0, i) * step.gradient_scale;
    const double velocity = step.momentum * read(m, 0, i) + g;
    const double decayed = read(master, 0, i) * (1 - learning_rate * step.weight_decay);
    write(m, 0, i, velocity);
    write(master, 0, i, decayed - learning_rate * velocity);
    if (!weights.empty()) write(weights, 0, i, read(master, 0, i));
  }
}

}  // namespace kumihimo::reference
