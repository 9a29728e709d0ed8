#include <cmath>

#include "base/check.hpp"
#include "tensor/reference/element.hpp"
#include "tensor/reference/reference_kernels.hpp"

namespace kumihimo::reference {
namespace {

void adamw_piece(const AdamW& step, const OptimizerPiece& piece) {
  const double beta1 = step.beta1;
  const double beta2 = step.beta2;
  const double learning_rate = step.learning_rate;
  const auto& [gradient, master, m, v, weights, weight_decay] = piece;
  for (std::int64_t i = 0; i < master.cols; ++i) {
    const double g = read(gradient, 0, i) * step.gradient_scale;
    const double first_moment = beta1 * read(m, 0, i) + (1 - beta1) * g;
    const double second_moment = beta2 * read(v, 0, i) + (1 - beta2) * g * g;
    const double decayed = read(master, 0, i) * (1 - learning_rate * weight_decay);
    const double direction = first_moment / step.correction1 /
                             (std::sqrt(second_moment / step.correction2) + step.epsilon);
    write(m, 0, i, first_moment);
    write(v, 0, i, second_moment);
    write(master, 0, i, decayed - learning_rate * direction);
    if (!weights.empty()) write(weights, 0, i, read(master, 0, i));
  }
}

void sgd_piece(const Sgd& step, const OptimizerPiece& piece) {
  const double learning_rate = step.learning_rate;
  for (std::int64_t i = 0; i < piece.master.cols; ++i) {
    const double g = read(piece.gradient, 0, i) * step.gradient_scale;
    const double velocity = step.momentum * read(piece.m, 0, i) + g;
    const double decayed = read(piece.master, 0, i) * (1 - learning_rate * piece.weight_decay);
    write(piece.m, 0, i, velocity);
    write(piece.master, 0, i, decayed - learning_rate * velocity);
    if (!piece.weights.empty()) write(piece.weights, 0, i, read(piece.master, 0, i));
  }
}

}  // namespace

void ReferenceKernels::sum_of_squares(std::span<const Matrix> matrices, const Matrix& sum) {
  KUMIHIMO_CHECK(has_shape(sum, 1, 1) && sum.dtype == DType::fp64);
  for (const Matrix& x : matrices) {
    double squares = 0;
    for (std::int64_t row = 0; row < x.rows; ++row) {
      for (std::int64_t col = 0; col < x.cols; ++col) {
        const double value = read(x, row, col);
        squares += value * value;
      }
    }
    add_to(sum, 0, 0, squares);
  }
}

void ReferenceKernels::adamw(const AdamW& step, std::span<const OptimizerPiece> pieces) {
  for (const OptimizerPiece& piece : pieces) {
    check_piece(piece, true);
    adamw_piece(step, piece);
  }
}

void ReferenceKernels::sgd(const Sgd& step, std::span<const OptimizerPiece> pieces) {
  for (const OptimizerPiece& piece : pieces) {
    check_piece(piece, false);
    sgd_piece(step, piece);
  }
}

}  // namespace kumihimo::reference
