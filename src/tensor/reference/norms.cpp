#include <cmath>

#include "base/check.hpp"
#include "tensor/reference/element.hpp"
#include "tensor/reference/reference_kernels.hpp"

namespace kumihimo::reference {
namespace {

// Of a row x, with the mean taken as 0 by RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467):
//   normalised = (x - mean) / sqrt(mean of (x - mean)^2 + epsilon),   y = normalised weight + bias

void keep_statistics(const NormKinds& norm, const Matrix& x, const NormSaved& saved) {
  const auto width = static_cast<double>(x.cols);
  for (std::int64_t token = 0; token < x.rows; ++token) {
    double mean = 0;
    if (norm.kind == NormKind::layer_norm) {
      for (std::int64_t col = 0; col < x.cols; ++col) mean += read(x, token, col) / width;
      write(saved.mean, token, 0, mean);
    }
    double variance = 0;
    for (std::int64_t col = 0; col < x.cols; ++col) {
      const double distance = read(x, token, col) - mean;
      variance += distance * distance / width;
    }
    write(saved.inverse_deviation, token, 0, 1 / std::sqrt(variance + norm.epsilon));
  }
}

/// An element of the normalised x, from the statistics.
double normalised(const NormKinds& norm, const Matrix& x, const NormSaved& saved,
                  std::int64_t token, std::int64_t col) {
  const double mean = norm.kind == NormKind::layer_norm ? read(saved.mean, token, 0) : 0;
  return (read(x, token, col) - mean) * read(saved.inverse_deviation, token, 0);
}

double weighted(double normalised, const Matrix& weight, const Matrix& bias, std::int64_t col) {
  return normalised * read(weight, 0, col) + (bias.empty() ? 0 : read(bias, 0, col));
}

void check_saved(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                 const NormSaved& saved) {
  KUMIHIMO_CHECK(has_shape(weight, 1, x.cols));
  KUMIHIMO_CHECK(has_shape(saved.inverse_deviation, x.rows, 1));
  KUMIHIMO_CHECK(norm.kind == NormKind::rms_norm || has_shape(saved.mean, x.rows, 1));
  KUMIHIMO_CHECK(norm.kernel == NormKernel::fused ||
                 (same_shape(saved.widened, x) && same_shape(saved.normalised, x)));
}

}  // namespace

void ReferenceKernels::norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                                    const Matrix& bias, const Matrix& y, const NormSaved& saved) {
  KUMIHIMO_CHECK(same_shape(x, y) && (bias.empty() || same_shape(bias, weight)));
  check_saved(norm, x, weight, saved);
  if (norm.kernel == NormKernel::fused) {
    keep_statistics(norm, x, saved);
    for (std::int64_t token = 0; token < x.rows; ++token) {
      for (std::int64_t col = 0; col < x.cols; ++col) {
        write(y, token, col, weighted(normalised(norm, x, saved, token, col), weight, bias, col));
      }
    }
    return;
  }
  copy(x, saved.widened);
  keep_statistics(norm, saved.widened, saved);
  for (std::int64_t token = 0; token < x.rows; ++token) {
    for (std::int64_t col = 0; col < x.cols; ++col) {
      write(saved.normalised, token, col, normalised(norm, saved.widened, saved, token, col));
    }
  }
  for (std::int64_t token = 0; token < x.rows; ++token) {
    for (std::int64_t col = 0; col < x.cols; ++col) {
      write(y, token, col, weighted(read(saved.normalised, token, col), weight, bias, col));
    }
  }
}

void ReferenceKernels::add_norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& delta,
                                        const Matrix& weight, const Matrix& bias, const Matrix& sum,
                                        const Matrix& y, const NormSaved& saved) {
  // The norm is that of the sum as it is stored, which is what backward will see.
  add(x, delta, sum);
  norm_forward(norm, sum, weight, bias, y, saved);
}

void ReferenceKernels::norm_backward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                                     const NormSaved& saved, const Matrix& d_y,
                                     const Matrix& d_residual, const Matrix& d_x,
                                     const Matrix& d_weight, const Matrix& d_bias) {
  KUMIHIMO_CHECK(same_shape(x, d_y) && same_shape(x, d_x) && same_shape(d_weight, weight));
  KUMIHIMO_CHECK(d_weight.dtype == DType::fp32);
  KUMIHIMO_CHECK(d_residual.empty() || same_shape(d_residual, x));
  check_saved(norm, x, weight, saved);
  const bool fused = norm.kernel == NormKernel::fused;
  const Matrix& source = fused ? x : saved.widened;

  if (!d_bias.empty()) bias_backward(d_y, d_bias);
  for (std::int64_t col = 0; col < x.cols; ++col) {
    double sum = 0;
    for (std::int64_t token = 0; token < x.rows; ++token) {
      const double factor =
          fused ? normalised(norm, source, saved, token, col) : read(saved.normalised, token, col);
      sum += read(d_y, token, col) * factor;
    }
    add_to(d_weight, 0, col, sum);
  }

  // The unfused kernel has a pass for the weight, which leaves the gradient of `normalised`.
  const Workspace::Scope scope(workspace_);
  Matrix d_normalised;
  if (!fused) {
    d_normalised = workspace_.take(x.rows, x.cols, DType::fp32);
    for (std::int64_t token = 0; token < x.rows; ++token) {
      for (std::int64_t col = 0; col < x.cols; ++col) {
        write(d_normalised, token, col, read(d_y, token, col) * read(weight, 0, col));
      }
    }
  }
  const auto gradient = [&](std::int64_t token, std::int64_t col) {
    return fused ? read(d_y, token, col) * read(weight, 0, col) : read(d_normalised, token, col);
  };

  // With g the gradient of normalised n:  d_x = (g - mean(g) - n mean(g n)) / deviation, where
  // mean(g), by way of the mean of x, is LayerNorm's only.
  const auto width = static_cast<double>(x.cols);
  for (std::int64_t token = 0; token < x.rows; ++token) {
    double mean_g = 0;
    double mean_gn = 0;
    for (std::int64_t col = 0; col < x.cols; ++col) {
      const double g = gradient(token, col);
      if (norm.kind == NormKind::layer_norm) mean_g += g / width;
      mean_gn += g * normalised(norm, source, saved, token, col) / width;
    }
    const double inverse_deviation = read(saved.inverse_deviation, token, 0);
    for (std::int64_t col = 0; col < x.cols; ++col) {
      const double n = normalised(norm, source, saved, token, col);
      const double through_norm = (gradient(token, col) - mean_g - n * mean_gn) * inverse_deviation;
      const double residual = d_residual.empty() ? 0 : read(d_residual, token, col);
      write(d_x, token, col, residual + through_norm);
    }
  }
}

}  // namespace kumihimo::reference
