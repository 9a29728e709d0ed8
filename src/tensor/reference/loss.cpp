#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.hpp"
#include "tensor/reference/element.hpp"
#include "tensor/reference/reference_kernels.hpp"

namespace kumihimo::reference {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

// Columns of the statistics.
constexpr std::int64_t maximum_col = 0, sum_col = 1, target_col = 2;

}  // namespace

void ReferenceKernels::cross_entropy_statistics(const Matrix& logits, const Matrix& targets,
                                                std::int64_t first_col, std::int64_t valid_cols,
                                                const Matrix& statistics) {
  KUMIHIMO_CHECK(0 <= valid_cols && valid_cols <= logits.cols);
  KUMIHIMO_CHECK(targets.rows == logits.rows && has_shape(statistics, logits.rows, 3));
  for (std::int64_t token = 0; token < logits.rows; ++token) {
    double maximum = minus_infinity;
    for (std::int64_t col = 0; col < valid_cols; ++col) {
      maximum = std::max(maximum, read(logits, token, col));
    }
    double sum = 0;
    for (std::int64_t col = 0; col < valid_cols; ++col) {
      sum += std::exp(read(logits, token, col) - maximum);
    }
    const std::int64_t target = read_index(targets, token) - first_col;
    const bool here = target >= 0 && target < valid_cols;
    write(statistics, token, maximum_col, maximum);
    write(statistics, token, sum_col, sum);
    write(statistics, token, target_col, here ? read(logits, token, target) : 0);
  }
}

void ReferenceKernels::cross_entropy_combine(const Matrix& statistics, std::int64_t parts,
                                             const Matrix& log_sum_exp, const Matrix& loss_sum) {
  const std::int64_t tokens = log_sum_exp.rows;
  KUMIHIMO_CHECK(has_shape(statistics, parts * tokens, 3) && log_sum_exp.cols == 1);
  KUMIHIMO_CHECK(has_shape(loss_sum, 1, 1) && loss_sum.dtype == DType::fp64);
  for (std::int64_t token = 0; token < tokens; ++token) {
    double maximum = minus_infinity;
    for (std::int64_t part = 0; part < parts; ++part) {
      maximum = std::max(maximum, read(statistics, part * tokens + token, maximum_col));
    }
    double sum = 0;
    double target_logit = 0;
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t row = part * tokens + token;
      const double part_sum = read(statistics, row, sum_col);
      // A part of padding alone has no maximum: -inf less -inf would be NaN.
      if (part_sum != 0) {
        sum += part_sum * std::exp(read(statistics, row, maximum_col) - maximum);
      }
      target_logit += read(statistics, row, target_col);
    }
    const double log_sum = maximum + std::log(sum);
    write(log_sum_exp, token, 0, log_sum);
    add_to(loss_sum, 0, 0, log_sum - target_logit);
  }
}

void ReferenceKernels::cross_entropy_backward(const Matrix& logits, const Matrix& targets,
                                              std::int64_t first_col, std::int64_t valid_cols,
                                              const Matrix& log_sum_exp, float scale) {
  KUMIHIMO_CHECK(0 <= valid_cols && valid_cols <= logits.cols);
  KUMIHIMO_CHECK(targets.rows == logits.rows && has_shape(log_sum_exp, logits.rows, 1));
  for (std::int64_t token = 0; token < logits.rows; ++token) {
    const double log_sum = read(log_sum_exp, token, 0);
    const std::int64_t target = read_index(targets, token) - first_col;
    for (std::int64_t col = 0; col < valid_cols; ++col) {
      const double probability = std::exp(read(logits, token, col) - log_sum);
      write(logits, token, col, scale * (probability - (col == target ? 1 : 0)));
    }
    for (std::int64_t col = valid_cols; col < logits.cols; ++col) write(logits, token, col, 0);
  }
}

}  // namespace kumihimo::reference
