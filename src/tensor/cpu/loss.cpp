#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.hpp"
#include "tensor/cpu/cpu_kernels.hpp"
#include "tensor/cpu/elements.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/loss.cpp"
#include <hwy/foreach_target.h>
// After the line above, which includes this file again for each instruction set.
#include "tensor/cpu/vectors-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kumihimo::cpu::HWY_NAMESPACE {

/// Maximum and sum of exp(x - maximum) of `count` elements, read from memory once: a chunk that the
/// nearest cache holds is read twice, and what came before is rescaled if it raises the maximum
/// (Milakov & Gimelshein 2018, arXiv:1805.02867).
template <class T>
HWY_INLINE void softmax_statistics(const T* x, std::int64_t count, float& maximum, float& sum) {
  constexpr std::int64_t chunk = 2048;
  maximum = -std::numeric_limits<float>::infinity();
  sum = 0;
  for (std::int64_t first = 0; first < count; first += chunk) {
    const T* from = x + first;
    const std::int64_t size = std::min(chunk, count - first);
    Floats highest = all(maximum);
    over(size, [&](std::size_t i, auto io)
                   HWY_ATTR { highest = hn::Max(highest, io.keep(io.load(from + i), highest)); });
    const float raised = maximum_of(highest);
    if (sum > 0) sum *= std::exp(maximum - raised);
    maximum = raised;
    Floats part = zeros();
    over(size, [&](std::size_t i, auto io) HWY_ATTR {
      const Floats e = exponential(hn::Sub(io.load(from + i), all(raised)));
      part = hn::Add(part, io.keep(e, zeros()));
    });
    sum += sum_of(part);
  }
}

void cross_entropy_statistics_rows(const Matrix& logits, const Matrix& targets,
                                   std::int64_t first_col, std::int64_t valid_cols,
                                   const Matrix& statistics) {
  with_type(logits.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < logits.rows; ++row) {
      const T* x = row_of<T>(logits, row);
      float* kept = row_of<float>(statistics, row);
      softmax_statistics(x, valid_cols, kept[0], kept[1]);
      const std::int64_t target = *row_of<std::int32_t>(targets, row) - first_col;
      const bool here = target >= 0 && target < valid_cols;
      kept[2] = here ? hn::GetLane(Some{1}.load(x + target)) : 0;
    }
  });
}

void cross_entropy_backward_rows(const Matrix& logits, const Matrix& targets,
                                 std::int64_t first_col, std::int64_t valid_cols,
                                 const Matrix& log_sum_exp, float scale) {
  with_type(logits.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < logits.rows; ++row) {
      T* x = row_of<T>(logits, row);
      const float log_sum = *row_of<float>(log_sum_exp, row);
      const std::int64_t target = *row_of<std::int32_t>(targets, row) - first_col;
      const bool here = target >= 0 && target < valid_cols;
      const Floats of_target = here ? Some{1}.load(x + target) : zeros();
      over(valid_cols, [&](std::size_t i, auto io) HWY_ATTR {
        const Floats p = exponential(hn::Sub(io.load(x + i), all(log_sum)));
        io.store(hn::Mul(p, all(scale)), x + i);
      });
      if (here) {
        const Floats p = exponential(hn::Sub(of_target, all(log_sum)));
        Some{1}.store(hn::Mul(hn::Sub(p, all(1)), all(scale)), x + target);
      }
      std::fill(x + valid_cols, x + logits.cols, T{0});
    }
  });
}

}  // namespace kumihimo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kumihimo::cpu {
namespace {

HWY_EXPORT(cross_entropy_statistics_rows);
HWY_EXPORT(cross_entropy_backward_rows);

void check_shapes(const Matrix& logits, const Matrix& targets, std::int64_t valid_cols) {
  KUMIHIMO_CHECK(logits.dtype == DType::fp32 || logits.dtype == DType::bf16);
  KUMIHIMO_CHECK(0 <= valid_cols && valid_cols <= logits.cols);
  KUMIHIMO_CHECK(has_shape(targets, logits.rows, 1) && targets.dtype == DType::int32);
}

}  // namespace

void CpuKernels::cross_entropy_statistics(const Matrix& logits, const Matrix& targets,
                                          std::int64_t first_col, std::int64_t valid_cols,
                                          const Matrix& statistics) {
  check_shapes(logits, targets, valid_cols);
  KUMIHIMO_CHECK(has_shape(statistics, logits.rows, 3) && statistics.dtype == DType::fp32);
  team_.for_rows(
      [&](const Matrix& x, const Matrix& of_rows, const Matrix& kept) {
        HWY_DYNAMIC_DISPATCH(cross_entropy_statistics_rows)
        (x, of_rows, first_col, valid_cols, kept);
      },
      logits, targets, statistics);
}

// Three numbers a token: not worth vectors or threads.
void CpuKernels::cross_entropy_combine(const Matrix& statistics, std::int64_t parts,
                                       const Matrix& log_sum_exp, const Matrix& loss_sum) {
  const std::int64_t tokens = log_sum_exp.rows;
  KUMIHIMO_CHECK(has_shape(statistics, parts * tokens, 3) && statistics.dtype == DType::fp32);
  KUMIHIMO_CHECK(log_sum_exp.cols == 1 && log_sum_exp.dtype == DType::fp32);
  KUMIHIMO_CHECK(has_shape(loss_sum, 1, 1) && loss_sum.dtype == DType::fp64);
  const auto statistics_of = [&](std::int64_t part, std::int64_t token) {
    return static_cast<const float*>(statistics.data) + (part * tokens + token) * statistics.stride;
  };
  double loss = 0;
  for (std::int64_t token = 0; token < tokens; ++token) {
    float maximum = -std::numeric_limits<float>::infinity();
    for (std::int64_t part = 0; part < parts; ++part) {
      maximum = std::max(maximum, statistics_of(part, token)[0]);
    }
    double sum = 0;
    double target_logit = 0;
    for (std::int64_t part = 0; part < parts; ++part) {
      const float* kept = statistics_of(part, token);
      // A part of padding alone has no maximum: -inf less -inf would be NaN.
      if (kept[1] != 0) sum += kept[1] * std::exp(static_cast<double>(kept[0]) - maximum);
      target_logit += kept[2];
    }
    const double log_sum = maximum + std::log(sum);
    static_cast<float*>(log_sum_exp.data)[token * log_sum_exp.stride] = static_cast<float>(log_sum);
    loss += log_sum - target_logit;
  }
  *static_cast<double*>(loss_sum.data) += loss;
}

void CpuKernels::cross_entropy_backward(const Matrix& logits, const Matrix& targets,
                                        std::int64_t first_col, std::int64_t valid_cols,
                                        const Matrix& log_sum_exp, float scale) {
  check_shapes(logits, targets, valid_cols);
  KUMIHIMO_CHECK(has_shape(log_sum_exp, logits.rows, 1) && log_sum_exp.dtype == DType::fp32);
  team_.for_rows(
      [&](const Matrix& x, const Matrix& of_rows, const Matrix& log_sums) {
        HWY_DYNAMIC_DISPATCH(cross_entropy_backward_rows)
        (x, of_rows, first_col, valid_cols, log_sums, scale);
      },
      logits, targets, log_sum_exp);
}

}  // namespace kumihimo::cpu
#endif
