#include "tensor/cuda/simt/column_sums.hpp"
#include "tensor/cuda/simt/norm_rows.hpp"
#include "tensor/cuda/simt/over_elements.hpp"

// Norms as frameworks run them without a kernel of their own: one pass after the other, of which
// each reads what the last has written. They keep what autograd would keep.

namespace KUMIHIMO_CUDA_NAMESPACE {
namespace {

/// The unfused kernel's pass that only keeps statistics, of the fp32 copy of x.
template <int width>
__global__ void __launch_bounds__(most_threads)
    statistics_kernel(NormTask task, Rows<const float> x, Statistics saved) {
  SharedMemory shared;
  const auto scratch = shared.take<float>(scratch_for(1));
  const std::int64_t row = blockIdx.x;
  OwnVectors<Vector<float, width>, width, kept_vectors> own;
  float total = 0;
  const auto load_row = [&](std::int64_t col) {
    return load_elements<width>(x.at(row, col), width);
  };
  own.load_and_visit(task.cols, load_row,
                     [&](int, std::int64_t, const Vector<float, width>& vector) {
#pragma unroll
                       for (int i = 0; i < width; ++i) total += vector.elements[i];
                     });
  keep(saved, row, statistics_of_row<float, width>(task, own, total, load_row, scratch));
}

template <class T>
struct Normalise {
  Rows<const float> x;
  Statistics saved;
  Rows<T> n;

  template <int width>
  __device__ void run(std::int64_t row, std::int64_t col, std::int64_t count) const {
    const float mean = saved.mean_of(row), inverse = *saved.inverse_deviation.at(row, 0);
    Floats<width> values = load<width>(x.at(row, col), count);
#pragma unroll
    for (int i = 0; i < width; ++i) values.values[i] = (values.values[i] - mean) * inverse;
    store(n.at(row, col), values, count);
  }
};

/// out = in weight (+ bias).
template <class From, class To>
struct Weigh {
  Rows<const From> in;
  const From* weight;
  const From* bias;
  Rows<To> out;

  template <int width>
  __device__ void run(std::int64_t row, std::int64_t col, std::int64_t count) const {
    Floats<width> values = load<width>(in.at(row, col), count);
    const Floats<width> times = load<width>(weight + col, count);
    Floats<width> plus = {};
    if (bias != nullptr) plus = load<width>(bias + col, count);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      values.values[i] = values.values[i] * times.values[i] + plus.values[i];
    }
    store(out.at(row, col), values, count);
  }
};

/// The unfused kernel's last pass, from fp32 d_n and the fp32 copy of x.
template <int width, class T>
__global__ void __launch_bounds__(most_threads)
    unfused_backward_kernel(NormTask task, Rows<const float> x, Statistics saved,
                            Rows<const float> d_n, Rows<const T> d_residual, Rows<T> d_x) {
  SharedMemory shared;
  const auto scratch = shared.take<float>(scratch_for(2));
  const std::int64_t row = blockIdx.x;
  const std::int64_t cols = task.cols;
  const RowStatistics statistics = {saved.mean_of(row), *saved.inverse_deviation.at(row, 0)};
  struct Pair {
    Vector<float, width> x, d_n;
  };
  float sums[2] = {0, 0};
  OwnVectors<Pair, width, kept_vectors> own;
  const auto load_row = [&](std::int64_t col) {
    return Pair{load_elements<width>(x.at(row, col), width),
                load_elements<width>(d_n.at(row, col), width)};
  };
  own.load_and_visit(cols, load_row, [&](int, std::int64_t, const Pair& pair) {
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float n = (pair.x.elements[i] - statistics.mean) * statistics.inverse_deviation;
      sums[0] += pair.d_n.elements[i];
      sums[1] += pair.d_n.elements[i] * n;
    }
  });
  block_reduce(sums, Plus(), 0.0f, scratch);
  const auto features = static_cast<float>(cols);
  const float mean_g = task.has_mean ? sums[0] / features : 0.0f;
  own.visit(cols, load_row, [&](int, std::int64_t col, const Pair& pair) {
    finish_vector(statistics, mean_g, sums[1] / features, widened(pair.x), widened(pair.d_n),
                  load_residual<width>(d_residual, row, col), d_x.at(row, col));
  });
}

}  // namespace

void SimtKernels::unfused_norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                                       const Matrix& bias, const Matrix& y,
                                       const NormSaved& saved) {
  copy(x, saved.widened);
  if (x.elements() == 0) return;
  const Statistics statistics = statistics_of(norm, saved);
  with_whole_width<wide<float>>(
      [&](auto chosen) {
        constexpr int width = decltype(chosen)::value;
        launch(statistics_kernel<width>,
               {{blocks(x.rows)}, threads_of_row(x.cols, width), scratch_for(1) * sizeof(float)},
               stream_, task_of(norm, x.cols), rows<const float>(saved.widened), statistics);
      },
      saved.widened);
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_width<wide<T>>(
        [&](auto chosen) {
          constexpr int width = decltype(chosen)::value;
          over_elements<width>(stream_, x.rows, x.cols,
                               Normalise<T>{rows<const float>(saved.widened), statistics,
                                            rows<T>(saved.normalised)});
          over_elements<width>(
              stream_, x.rows, x.cols,
              Weigh<T, T>{rows<const T>(saved.normalised), static_cast<const T*>(weight.data),
                          static_cast<const T*>(bias.data), rows<T>(y)});
        },
        saved.widened, saved.normalised, weight, or_else(bias, weight), y);
  });
}

void SimtKernels::unfused_norm_backward(const NormKinds& norm, const Matrix& x,
                                        const Matrix& weight, const NormSaved& saved,
                                        const Matrix& d_y, const Matrix& d_residual,
                                        const Matrix& d_x, const Matrix& d_weight,
                                        const Matrix& d_bias) {
  if (!d_bias.empty()) bias_backward(d_y, d_bias);
  add_column_sums(stream_, workspace_, d_y, saved.normalised, d_weight);
  const Workspace::Scope scope(workspace_);
  const Matrix d_n = workspace_.take(x.rows, x.cols, DType::fp32);
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_width<wide<T>>(
        [&](auto chosen) {
          over_elements<decltype(chosen)::value>(
              stream_, x.rows, x.cols,
              Weigh<T, float>{rows<const T>(d_y), static_cast<const T*>(weight.data), nullptr,
                              rows<float>(d_n)});
        },
        d_y, weight, d_n);
    with_whole_width<wide<float>>(
        [&](auto chosen) {
          constexpr int width = decltype(chosen)::value;
          launch(unfused_backward_kernel<width, T>,
                 {{blocks(x.rows)}, threads_of_row(x.cols, width), scratch_for(2) * sizeof(float)},
                 stream_, task_of(norm, x.cols), rows<const float>(saved.widened),
                 statistics_of(norm, saved), rows<const float>(d_n), rows<const T>(d_residual),
                 rows<T>(d_x));
        },
        saved.widened, d_n, or_else(d_residual, d_x), d_x);
  });
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
