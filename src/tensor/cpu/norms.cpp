#include <algorithm>
#include <cmath>

#include "base/check.hpp"
#include "tensor/cpu/column_sums.hpp"
#include "tensor/cpu/cpu_kernels.hpp"
#include "tensor/cpu/elements.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/norms.cpp"
#include <hwy/foreach_target.h>
// After the line above, which includes this file again for each instruction set.
#include "tensor/cpu/vectors-inl.hpp"

// RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467), for which the mean is taken as 0, and
// LayerNorm (Ba et al. 2016, arXiv:1607.06450), of each row x:
//   n = (x - mean) / sqrt(mean of (x - mean)^2 + epsilon)        y = n weight + bias
// and backward, with g = d_y weight and mean(g) LayerNorm's only:
//   d_x = (g - mean(g) - n mean(g n)) / deviation      d_weight = sum d_y n      d_bias = sum d_y

HWY_BEFORE_NAMESPACE();
namespace kumihimo::cpu::HWY_NAMESPACE {

struct Statistics {
  float mean;
  float inverse_deviation;
};

template <class T>
HWY_INLINE Statistics statistics_of(const NormKinds& norm, const T* x, std::int64_t cols) {
  const auto width = static_cast<float>(cols);
  float mean = 0;
  if (norm.kind == NormKind::layer_norm) {
    Floats sum = zeros();
    over(cols, [&](std::size_t i, auto io) HWY_ATTR { sum = hn::Add(sum, io.load(x + i)); });
    mean = sum_of(sum) / width;
  }
  Floats squares = zeros();
  const Floats means = all(mean);
  over(cols, [&](std::size_t i, auto io) HWY_ATTR {
    const Floats distance = io.keep(hn::Sub(io.load(x + i), means), zeros());
    squares = hn::MulAdd(distance, distance, squares);
  });
  const float variance = sum_of(squares) / width;
  return {mean, 1 / std::sqrt(variance + static_cast<float>(norm.epsilon))};
}

HWY_INLINE void keep(const NormSaved& saved, std::int64_t row, const Statistics& statistics) {
  *row_of<float>(saved.inverse_deviation, row) = statistics.inverse_deviation;
  if (!saved.mean.empty()) *row_of<float>(saved.mean, row) = statistics.mean;
}

HWY_INLINE Statistics kept(const NormKinds& norm, const NormSaved& saved, std::int64_t row) {
  const bool has_mean = norm.kind == NormKind::layer_norm;
  return {has_mean ? *row_of<float>(saved.mean, row) : 0,
          *row_of<float>(saved.inverse_deviation, row)};
}

void keep_statistics_rows(const NormKinds& norm, const Matrix& x, const NormSaved& saved) {
  for (std::int64_t row = 0; row < x.rows; ++row) {
    keep(saved, row, statistics_of(norm, row_of<float>(x, row), x.cols));
  }
}

/// y = n
void normalise_rows(const NormKinds& norm, const Matrix& x, const NormSaved& saved,
                    const Matrix& y) {
  with_type(y.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < x.rows; ++row) {
      const Statistics statistics = kept(norm, saved, row);
      const Floats mean = all(statistics.mean), inverse = all(statistics.inverse_deviation);
      const float* from = row_of<float>(x, row);
      T* to = row_of<T>(y, row);
      over(x.cols, [&](std::size_t i, auto io) HWY_ATTR {
        io.store(hn::Mul(hn::Sub(io.load(from + i), mean), inverse), to + i);
      });
    }
  });
}

/// y = x weight + bias, where x and weight may differ in dtype.
template <class In, class T>
HWY_INLINE void weigh_rows_of(const Matrix& x, const Matrix& weight, const Matrix& bias,
                              const Matrix& y) {
  const T* times = row_of<T>(weight, 0);
  for (std::int64_t row = 0; row < x.rows; ++row) {
    const In* from = row_of<In>(x, row);
    T* to = row_of<T>(y, row);
    if (bias.empty()) {
      over(x.cols, [&](std::size_t i, auto io) HWY_ATTR {
        io.store(hn::Mul(io.load(from + i), io.load(times + i)), to + i);
      });
    } else {
      const T* plus = row_of<T>(bias, 0);
      over(x.cols, [&](std::size_t i, auto io) HWY_ATTR {
        io.store(hn::MulAdd(io.load(from + i), io.load(times + i), io.load(plus + i)), to + i);
      });
    }
  }
}

void weigh_rows(const Matrix& x, const Matrix& weight, const Matrix& bias, const Matrix& y) {
  with_type(y.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    weigh_rows_of<T, T>(x, weight, bias, y);
  });
}

/// d_n = d_y weight, fp32.
void weigh_gradient_rows(const Matrix& d_y, const Matrix& weight, const Matrix& d_n) {
  with_type(d_y.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const T* times = row_of<T>(weight, 0);
    for (std::int64_t row = 0; row < d_y.rows; ++row) {
      const T* from = row_of<T>(d_y, row);
      float* to = row_of<float>(d_n, row);
      over(d_y.cols, [&](std::size_t i, auto io) HWY_ATTR {
        io.store(hn::Mul(io.load(from + i), io.load(times + i)), to + i);
      });
    }
  });
}

/// The fused kernel forward. With `delta`, sum = x + delta comes first, and the norm is that of the
/// sum as it is stored.
void norm_rows(const NormKinds& norm, const Matrix& x, const Matrix& delta, const Matrix& sum,
               const Matrix& weight, const Matrix& bias, const Matrix& y, const NormSaved& saved) {
  with_type(x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const T* times = row_of<T>(weight, 0);
    const T* plus = bias.empty() ? nullptr : row_of<T>(bias, 0);
    for (std::int64_t row = 0; row < x.rows; ++row) {
      const T* from = row_of<T>(x, row);
      if (!delta.empty()) {
        const T* addend = row_of<T>(delta, row);
        T* to = row_of<T>(sum, row);
        over(x.cols, [&](std::size_t i, auto io) HWY_ATTR {
          io.store(hn::Add(io.load(from + i), io.load(addend + i)), to + i);
        });
        from = to;
      }
      const Statistics statistics = statistics_of(norm, from, x.cols);
      keep(saved, row, statistics);
      const Floats mean = all(statistics.mean), inverse = all(statistics.inverse_deviation);
      T* to = row_of<T>(y, row);
      if (plus == nullptr) {
        over(x.cols, [&](std::size_t i, auto io) HWY_ATTR {
          const Floats n = hn::Mul(hn::Sub(io.load(from + i), mean), inverse);
          io.store(hn::Mul(n, io.load(times + i)), to + i);
        });
      } else {
        over(x.cols, [&](std::size_t i, auto io) HWY_ATTR {
          const Floats n = hn::Mul(hn::Sub(io.load(from + i), mean), inverse);
          io.store(hn::MulAdd(n, io.load(times + i), io.load(plus + i)), to + i);
        });
      }
    }
  });
}

/// The end of a row: d_x = d_residual + the gradient through the norm. g(i, io) gives g, x(i, io)
/// the source.
template <class T, class G, class N>
HWY_INLINE void finish_row(const Statistics& statistics, float mean_g, float mean_gn,
                           std::int64_t cols, const T* d_residual, T* d_x, const G& g, const N& n) {
  const Floats mean_gs = all(mean_g), mean_gns = all(mean_gn);
  const Floats inverse = all(statistics.inverse_deviation);
  over(cols, [&](std::size_t i, auto io) HWY_ATTR {
    const Floats centred = hn::NegMulAdd(n(i, io), mean_gns, hn::Sub(g(i, io), mean_gs));
    const Floats residual = d_residual == nullptr ? zeros() : io.load(d_residual + i);
    io.store(hn::MulAdd(centred, inverse, residual), d_x + i);
  });
}

/// The fused kernel backward. d_weight, d_bias: fp32 [1, cols] of these rows; d_bias may be empty.
void norm_backward_rows(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                        const NormSaved& saved, const Matrix& d_y, const Matrix& d_residual,
                        const Matrix& d_x, const Matrix& d_weight, const Matrix& d_bias) {
  with_type(x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const bool has_mean = norm.kind == NormKind::layer_norm;
    const auto width = static_cast<float>(x.cols);
    const T* times = row_of<T>(weight, 0);
    float* to_weight = row_of<float>(d_weight, 0);
    float* to_bias = d_bias.empty() ? nullptr : row_of<float>(d_bias, 0);
    for (std::int64_t row = 0; row < x.rows; ++row) {
      const Statistics statistics = kept(norm, saved, row);
      const Floats mean = all(statistics.mean), inverse = all(statistics.inverse_deviation);
      const T* from = row_of<T>(x, row);
      const T* d = row_of<T>(d_y, row);
      const auto n = [&](std::size_t i, auto io)
                         HWY_ATTR { return hn::Mul(hn::Sub(io.load(from + i), mean), inverse); };
      const auto g = [&](std::size_t i, auto io)
                         HWY_ATTR { return hn::Mul(io.load(d + i), io.load(times + i)); };
      Floats sum_g = zeros(), sum_gn = zeros();
      over(x.cols, [&](std::size_t i, auto io) HWY_ATTR {
        const Floats normalised = n(i, io), d_i = io.load(d + i);
        const Floats gradient = hn::Mul(d_i, io.load(times + i));
        sum_g = hn::Add(sum_g, gradient);
        sum_gn = hn::MulAdd(gradient, normalised, sum_gn);
        io.store(hn::MulAdd(d_i, normalised, io.load(to_weight + i)), to_weight + i);
        if (to_bias != nullptr) io.store(hn::Add(d_i, io.load(to_bias + i)), to_bias + i);
      });
      finish_row(statistics, has_mean ? sum_of(sum_g) / width : 0, sum_of(sum_gn) / width, x.cols,
                 d_residual.empty() ? nullptr : row_of<T>(d_residual, row), row_of<T>(d_x, row), g,
                 n);
    }
  });
}

/// The unfused kernel's last pass, from fp32 d_n and the fp32 copy of x.
void unfused_backward_rows(const NormKinds& norm, const Matrix& widened, const NormSaved& saved,
                           const Matrix& d_n, const Matrix& d_residual, const Matrix& d_x) {
  with_type(d_x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const bool has_mean = norm.kind == NormKind::layer_norm;
    const auto width = static_cast<float>(widened.cols);
    for (std::int64_t row = 0; row < widened.rows; ++row) {
      const Statistics statistics = kept(norm, saved, row);
      const Floats mean = all(statistics.mean), inverse = all(statistics.inverse_deviation);
      const float* from = row_of<float>(widened, row);
      const float* d = row_of<float>(d_n, row);
      const auto n = [&](std::size_t i, auto io)
                         HWY_ATTR { return hn::Mul(hn::Sub(io.load(from + i), mean), inverse); };
      const auto g = [&](std::size_t i, auto io) HWY_ATTR { return io.load(d + i); };
      Floats sum_g = zeros(), sum_gn = zeros();
      over(widened.cols, [&](std::size_t i, auto io) HWY_ATTR {
        const Floats gradient = g(i, io);
        sum_g = hn::Add(sum_g, gradient);
        sum_gn = hn::MulAdd(gradient, n(i, io), sum_gn);
      });
      finish_row(statistics, has_mean ? sum_of(sum_g) / width : 0, sum_of(sum_gn) / width,
                 widened.cols, d_residual.empty() ? nullptr : row_of<T>(d_residual, row),
                 row_of<T>(d_x, row), g, n);
    }
  });
}

}  // namespace kumihimo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kumihimo::cpu {
namespace {

HWY_EXPORT(keep_statistics_rows);
HWY_EXPORT(normalise_rows);
HWY_EXPORT(weigh_rows);
HWY_EXPORT(weigh_gradient_rows);
HWY_EXPORT(norm_rows);
HWY_EXPORT(norm_backward_rows);
HWY_EXPORT(unfused_backward_rows);

void check_shapes(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                  const NormSaved& saved) {
  KUMIHIMO_CHECK(x.dtype == DType::fp32 || x.dtype == DType::bf16);
  KUMIHIMO_CHECK(has_shape(weight, 1, x.cols) && weight.dtype == x.dtype);
  KUMIHIMO_CHECK(has_shape(saved.inverse_deviation, x.rows, 1));
  KUMIHIMO_CHECK(norm.kind == NormKind::rms_norm || has_shape(saved.mean, x.rows, 1));
  KUMIHIMO_CHECK(norm.kernel == NormKernel::fused ||
                 (same_shape(saved.widened, x) && same_shape(saved.normalised, x)));
}

Matrix rows_or_empty(const Matrix& matrix, std::int64_t first, std::int64_t count) {
  return matrix.empty() ? matrix : rows_of(matrix, first, count);
}

/// Statistics of some rows; what the unfused kernel keeps is passed to it by itself.
NormSaved statistics_rows(const NormSaved& saved, std::int64_t first, std::int64_t count) {
  NormSaved rows;
  rows.inverse_deviation = rows_of(saved.inverse_deviation, first, count);
  rows.mean = rows_or_empty(saved.mean, first, count);
  return rows;
}

}  // namespace

void CpuKernels::norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                              const Matrix& bias, const Matrix& y, const NormSaved& saved) {
  KUMIHIMO_CHECK(same_shape(x, y) && y.dtype == x.dtype);
  check_shapes(norm, x, weight, saved);
  if (norm.kernel == NormKernel::fused) {
    add_norm_forward(norm, x, {}, weight, bias, {}, y, saved);
    return;
  }
  copy(x, saved.widened);
  team_.for_ranges(x.rows, x.cols, 1, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(keep_statistics_rows)
    (norm, rows_of(saved.widened, first, count), statistics_rows(saved, first, count));
  });
  team_.for_ranges(x.rows, x.cols, 1, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(normalise_rows)
    (norm, rows_of(saved.widened, first, count), statistics_rows(saved, first, count),
     rows_of(saved.normalised, first, count));
  });
  team_.for_rows(
      [&](const Matrix& from, const Matrix& to) {
        HWY_DYNAMIC_DISPATCH(weigh_rows)(from, weight, bias, to);
      },
      saved.normalised, y);
}

void CpuKernels::add_norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& delta,
                                  const Matrix& weight, const Matrix& bias, const Matrix& sum,
                                  const Matrix& y, const NormSaved& saved) {
  if (norm.kernel == NormKernel::unfused) {
    add(x, delta, sum);
    norm_forward(norm, sum, weight, bias, y, saved);
    return;
  }
  KUMIHIMO_CHECK(same_shape(x, y) && y.dtype == x.dtype);
  KUMIHIMO_CHECK(delta.empty() || (same_shape(delta, x) && same_shape(sum, x)));
  check_shapes(norm, x, weight, saved);
  team_.for_ranges(x.rows, x.cols, 1, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(norm_rows)
    (norm, rows_of(x, first, count), rows_or_empty(delta, first, count),
     rows_or_empty(sum, first, count), weight, bias, rows_of(y, first, count),
     statistics_rows(saved, first, count));
  });
}

void CpuKernels::norm_backward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                               const NormSaved& saved, const Matrix& d_y, const Matrix& d_residual,
                               const Matrix& d_x, const Matrix& d_weight, const Matrix& d_bias) {
  KUMIHIMO_CHECK(same_shape(x, d_y) && same_shape(x, d_x) && same_shape(d_weight, weight));
  KUMIHIMO_CHECK(d_y.dtype == x.dtype && d_x.dtype == x.dtype && d_weight.dtype == DType::fp32);
  KUMIHIMO_CHECK(d_residual.empty() || same_shape(d_residual, x));
  check_shapes(norm, x, weight, saved);
  const Workspace::Scope scope(workspace_);

  if (norm.kernel == NormKernel::unfused) {
    if (!d_bias.empty()) bias_backward(d_y, d_bias);
    add_column_sums(team_, workspace_, d_y, saved.normalised, d_weight);
    const Matrix d_n = workspace_.take(x.rows, x.cols, DType::fp32);
    team_.for_rows(
        [&](const Matrix& from, const Matrix& to) {
          HWY_DYNAMIC_DISPATCH(weigh_gradient_rows)(from, weight, to);
        },
        d_y, d_n);
    team_.for_ranges(x.rows, x.cols, 1, [&](std::int64_t first, std::int64_t count) {
      HWY_DYNAMIC_DISPATCH(unfused_backward_rows)
      (norm, rows_of(saved.widened, first, count), statistics_rows(saved, first, count),
       rows_of(d_n, first, count), rows_or_empty(d_residual, first, count),
       rows_of(d_x, first, count));
    });
    return;
  }

  const std::int64_t blocks = blocks_of(x.rows);
  const Matrix weight_sums = workspace_.take(blocks, x.cols, DType::fp32);
  const Matrix bias_sums = d_bias.empty() ? Matrix() : workspace_.take(blocks, x.cols, DType::fp32);
  team_.for_each(blocks, [&](std::int64_t block, int) {
    const Matrix weight_sum = rows_of(weight_sums, block, 1);
    const Matrix bias_sum = rows_or_empty(bias_sums, block, 1);
    std::fill_n(static_cast<float*>(weight_sum.data), x.cols, 0.0f);
    if (!bias_sum.empty()) std::fill_n(static_cast<float*>(bias_sum.data), x.cols, 0.0f);
    const Matrix rows = block_of(x, block);
    HWY_DYNAMIC_DISPATCH(norm_backward_rows)
    (norm, rows, weight, statistics_rows(saved, block * rows_per_block, rows.rows),
     block_of(d_y, block), block_of(d_residual, block), block_of(d_x, block), weight_sum, bias_sum);
  });
  add_blocks(weight_sums, d_weight);
  if (!d_bias.empty()) add_blocks(bias_sums, d_bias);
}

}  // namespace kumihimo::cpu
#endif
