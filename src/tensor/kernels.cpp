#include "tensor/kernels.hpp"

#include "base/check.hpp"

namespace kumihimo {

std::string_view to_string(Backend backend) {
  switch (backend) {
    case Backend::reference: return "reference";
    case Backend::cpu: return "cpu";
    case Backend::cuda: return "cuda";
  }
  return "?";
}

void check_piece(const OptimizerPiece& piece, bool second_moment) {
  const auto fits = [&](const Matrix& matrix) {
    return has_shape(matrix, 1, piece.master.cols) && matrix.dtype == DType::fp32;
  };
  KUMIHIMO_CHECK(fits(piece.master) && fits(piece.gradient) && fits(piece.m));
  KUMIHIMO_CHECK(!second_moment || fits(piece.v));
  const Matrix& weights = piece.weights;
  KUMIHIMO_CHECK(weights.empty() ||
                 (same_shape(weights, piece.master) &&
                  (weights.dtype == DType::fp32 || weights.dtype == DType::bf16)));
}

}  // namespace kumihimo
