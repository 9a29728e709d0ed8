#include "base/check.hpp"
#include "tensor/cuda/simt/column_sums.hpp"
#include "tensor/cuda/simt/norm_rows.hpp"

// Norms, and the fused kernels, which read and write each matrix once. A block takes a row: two
// vectors of 16 bytes a thread and at most 512 threads, and up to 16,384 bytes of a row stay in
// registers between the sums and the result; of longer rows the rest is read again from a cache.
// Backward as much stays there, one vector a thread of up to 1,024. Rows that are no whole vectors
// are read element by element: with a branch in each load, a thread would wait for one before it
// asks for the next.

namespace KUMIHIMO_CUDA_NAMESPACE {
namespace {

/// y = norm(x), or of sum = x + delta. One pass over memory. Grid: rows.
template <int width, bool adds, class T>
__global__ void __launch_bounds__(most_threads)
    norm_kernel(NormTask task, Rows<const T> x, Rows<const T> delta, const T* weight, const T* bias,
                Rows<T> sum, Rows<T> y, Statistics saved) {
  SharedMemory shared;
  const auto scratch = shared.take<float>(scratch_for(1));
  const std::int64_t row = blockIdx.x;
  OwnVectors<Vector<T, width>, width, kept_vectors> own;
  float total = 0;
  const auto add_up = [&](const Vector<T, width>& vector) {
    const Floats<width> values = widened(vector);
#pragma unroll
    for (int i = 0; i < width; ++i) total += values.values[i];
  };
  // What is normed is the sum as it is stored, which is what backward will see. sum may lie in the
  // place of x or of delta, so it is read again only where this thread has written it.
  const auto load_again = [&](std::int64_t col) {
    if constexpr (adds) {
      return load_elements<width>(static_cast<const T*>(sum.at(row, col)), width);
    } else {
      return load_elements<width>(x.at(row, col), width);
    }
  };
  const auto load_first = [&](std::int64_t col) {
    if constexpr (adds) {
      Floats<width> values = load<width>(x.at(row, col), width);
      const Floats<width> more = load<width>(delta.at(row, col), width);
#pragma unroll
      for (int i = 0; i < width; ++i) values.values[i] += more.values[i];
      const Vector<T, width> stored = narrowed_to<T>(values);
      store_elements(sum.at(row, col), stored, width);
      return stored;
    } else {
      return load_elements<width>(x.at(row, col), width);
    }
  };
  own.load_and_visit(task.cols, load_first,
                     [&](int, std::int64_t, const Vector<T, width>& vector) { add_up(vector); });
  const RowStatistics statistics =
      statistics_of_row<T, width>(task, own, total, load_again, scratch);
  keep(saved, row, statistics);
  own.visit(task.cols, load_again, [&](int, std::int64_t col, const Vector<T, width>& vector) {
    Floats<width> values = widened(vector);
    const Floats<width> times = load<width>(weight + col, width);
    Floats<width> plus = {};
    if (bias != nullptr) plus = load<width>(bias + col, width);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float n = (values.values[i] - statistics.mean) * statistics.inverse_deviation;
      values.values[i] = n * times.values[i] + plus.values[i];
    }
    store(y.at(row, col), values, width);
  });
}

/// Number of blocks of the fused backward kernel: enough for any GPU, and few enough for their sums
/// of d_weight to be small beside the matrices.
constexpr std::int64_t most_backward_blocks = 512;

/// A block has many rows, one after the other, and a multiprocessor few blocks: all of a row is
/// asked for at once, by as many threads as there are vectors.
constexpr unsigned most_backward_threads = 1024;

/// d_x of `rows_each` rows, and their sums for d_weight and d_bias, which the threads hold in
/// shared memory: each thread its own columns' in places of its own.
template <int width, bool has_bias, class T>
__global__ void __launch_bounds__(most_backward_threads)
    norm_backward_kernel(NormTask task, std::int64_t row_count, std::int64_t rows_each,
                         Rows<const T> x, const T* weight, Statistics saved, Rows<const T> d_y,
                         Rows<const T> d_residual, Rows<T> d_x, Rows<float> weight_sums,
                         Rows<float> bias_sums) {
  const std::int64_t cols = task.cols;
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const int vectors_each = static_cast<int>((cols + std::int64_t{threads} * width - 1) /
                                            (std::int64_t{threads} * width));
  SharedMemory shared;
  const auto scratch = shared.take<float>(scratch_for(2));
  const auto of_weight = shared.take<float>(vectors_each * width * threads);
  SharedPointer<float> of_bias = of_weight;
  if constexpr (has_bias) of_bias = shared.take<float>(vectors_each * width * threads);
  for (int i = 0; i < vectors_each * width; ++i) {
    of_weight[i * threads + thread] = 0.0f;
    if constexpr (has_bias) of_bias[i * threads + thread] = 0.0f;
  }

  struct Loaded {
    Vector<T, width> x, d_y, d_residual;
  };
  const std::int64_t first = blockIdx.x * rows_each;
  const std::int64_t end = first + rows_each < row_count ? first + rows_each : row_count;
  for (std::int64_t row = first; row < end; ++row) {
    const RowStatistics statistics = {saved.mean_of(row), *saved.inverse_deviation.at(row, 0)};
    float sums[2] = {0, 0};  // of g and of g n
    OwnVectors<Loaded, width, 1> own;
    // d_residual waits for the sums, but not to be asked for.
    const auto load_row = [&](std::int64_t col) {
      return Loaded{load_elements<width>(x.at(row, col), width),
                    load_elements<width>(d_y.at(row, col), width),
                    load_residual<width>(d_residual, row, col)};
    };
    own.load_and_visit(cols, load_row, [&](int number, std::int64_t col, const Loaded& loaded) {
      const Floats<width> values = widened(loaded.x), d = widened(loaded.d_y);
      const Floats<width> times = load<width>(weight + col, width);
#pragma unroll
      for (int i = 0; i < width; ++i) {
        const float n = (values.values[i] - statistics.mean) * statistics.inverse_deviation;
        const float g = d.values[i] * times.values[i];
        sums[0] += g;
        sums[1] += g * n;
        const int place = (number * width + i) * threads + thread;
        of_weight[place] += d.values[i] * n;
        if constexpr (has_bias) of_bias[place] += d.values[i];
      }
    });
    block_reduce(sums, Plus(), 0.0f, scratch);
    const auto features = static_cast<float>(cols);
    const float mean_g = task.has_mean ? sums[0] / features : 0.0f;
    const float mean_gn = sums[1] / features;
    own.visit(cols, load_row, [&](int, std::int64_t col, const Loaded& loaded) {
      Floats<width> g = widened(loaded.d_y);
      const Floats<width> times = load<width>(weight + col, width);
#pragma unroll
      for (int i = 0; i < width; ++i) g.values[i] *= times.values[i];
      finish_vector(statistics, mean_g, mean_gn, widened(loaded.x), g, loaded.d_residual,
                    d_x.at(row, col));
    });
  }

  for (int number = 0; number < vectors_each; ++number) {
    const std::int64_t col = (std::int64_t{number} * threads + thread) * width;
    if (col >= cols) break;
    Floats<width> sum;
#pragma unroll
    for (int i = 0; i < width; ++i)
      sum.values[i] = of_weight[(number * width + i) * threads + thread];
    store(weight_sums.at(blockIdx.x, col), sum, width);
    if constexpr (has_bias) {
#pragma unroll
      for (int i = 0; i < width; ++i)
        sum.values[i] = of_bias[(number * width + i) * threads + thread];
      store(bias_sums.at(blockIdx.x, col), sum, width);
    }
  }
}

void check_shapes(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                  const NormSaved& saved) {
  KUMIHIMO_CHECK(has_shape(weight, 1, x.cols) && weight.dtype == x.dtype);
  KUMIHIMO_CHECK(has_shape(saved.inverse_deviation, x.rows, 1));
  KUMIHIMO_CHECK(norm.kind == NormKind::rms_norm || has_shape(saved.mean, x.rows, 1));
  KUMIHIMO_CHECK(norm.kernel == NormKernel::fused ||
                 (same_shape(saved.widened, x) && same_shape(saved.normalised, x)));
}

template <bool adds>
void norm_rows(Stream stream, const NormKinds& norm, const Matrix& x, const Matrix& delta,
               const Matrix& weight, const Matrix& bias, const Matrix& sum, const Matrix& y,
               const NormSaved& saved) {
  if (x.elements() == 0) return;
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_whole_width<wide<T>>(
        [&](auto chosen) {
          constexpr int width = decltype(chosen)::value;
          launch(norm_kernel<width, adds, T>,
                 {{blocks(x.rows)}, threads_of_row(x.cols, width), scratch_for(1) * sizeof(float)},
                 stream, task_of(norm, x.cols), rows<const T>(x), rows<const T>(delta),
                 static_cast<const T*>(weight.data), static_cast<const T*>(bias.data), rows<T>(sum),
                 rows<T>(y), statistics_of(norm, saved));
        },
        x, y, weight, or_else(bias, x), or_else(delta, x), or_else(sum, x));
  });
}

template <class T, bool has_bias>
void norm_backward_rows(Stream stream, Workspace& workspace, const NormKinds& norm, const Matrix& x,
                        const Matrix& weight, const NormSaved& saved, const Matrix& d_y,
                        const Matrix& d_residual, const Matrix& d_x, const Matrix& d_weight,
                        const Matrix& d_bias) {
  const Workspace::Scope scope(workspace);
  const std::int64_t rows_each = pieces_of(x.rows, most_backward_blocks);
  const std::int64_t block_count = pieces_of(x.rows, rows_each);
  const Matrix weight_sums = workspace.take(block_count, x.cols, DType::fp32);
  const Matrix bias_sums = has_bias ? workspace.take(block_count, x.cols, DType::fp32) : Matrix{};
  with_whole_width<wide<T>>(
      [&](auto chosen) {
        constexpr int width = decltype(chosen)::value;
        const unsigned threads = threads_for(pieces_of(x.cols, width), most_backward_threads);
        const std::int64_t places =
            pieces_of(x.cols, std::int64_t{threads} * width) * threads * width;
        const std::int64_t floats = scratch_for(2) + places * (has_bias ? 2 : 1);
        launch(norm_backward_kernel<width, has_bias, T>,
               {{blocks(block_count)}, threads, static_cast<std::size_t>(floats) * sizeof(float)},
               stream, task_of(norm, x.cols), x.rows, rows_each, rows<const T>(x),
               static_cast<const T*>(weight.data), statistics_of(norm, saved), rows<const T>(d_y),
               rows<const T>(d_residual), rows<T>(d_x), rows<float>(weight_sums),
               rows<float>(bias_sums));
      },
      x, weight, d_y, d_x, or_else(d_residual, x), weight_sums, or_else(bias_sums, x));
  add_column_sums(stream, workspace, weight_sums, {}, d_weight);
  if (has_bias) add_column_sums(stream, workspace, bias_sums, {}, d_bias);
}

}  // namespace

void SimtKernels::norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                               const Matrix& bias, const Matrix& y, const NormSaved& saved) {
  KUMIHIMO_CHECK(same_shape(x, y) && y.dtype == x.dtype);
  check_shapes(norm, x, weight, saved);
  if (norm.kernel == NormKernel::fused) {
    norm_rows<false>(stream_, norm, x, {}, weight, bias, {}, y, saved);
  } else {
    unfused_norm_forward(norm, x, weight, bias, y, saved);
  }
}

void SimtKernels::add_norm_forward(const NormKinds& norm, const Matrix& x, const Matrix& delta,
                                   const Matrix& weight, const Matrix& bias, const Matrix& sum,
                                   const Matrix& y, const NormSaved& saved) {
  if (norm.kernel == NormKernel::unfused) {
    add(x, delta, sum);
    norm_forward(norm, sum, weight, bias, y, saved);
    return;
  }
  KUMIHIMO_CHECK(same_shape(x, y) && same_shape(delta, x) && same_shape(sum, x));
  KUMIHIMO_CHECK(y.dtype == x.dtype && delta.dtype == x.dtype && sum.dtype == x.dtype);
  check_shapes(norm, x, weight, saved);
  norm_rows<true>(stream_, norm, x, delta, weight, bias, sum, y, saved);
}

void SimtKernels::norm_backward(const NormKinds& norm, const Matrix& x, const Matrix& weight,
                                const NormSaved& saved, const Matrix& d_y, const Matrix& d_residual,
                                const Matrix& d_x, const Matrix& d_weight, const Matrix& d_bias) {
  KUMIHIMO_CHECK(same_shape(x, d_y) && same_shape(x, d_x) && same_shape(d_weight, weight));
  KUMIHIMO_CHECK(d_y.dtype == x.dtype && d_x.dtype == x.dtype && d_weight.dtype == DType::fp32);
  KUMIHIMO_CHECK(d_residual.empty() || same_shape(d_residual, x));
  check_shapes(norm, x, weight, saved);
  if (x.elements() == 0) return;
  if (norm.kernel == NormKernel::unfused) {
    return unfused_norm_backward(norm, x, weight, saved, d_y, d_residual, d_x, d_weight, d_bias);
  }
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto run = d_bias.empty() ? norm_backward_rows<T, false> : norm_backward_rows<T, true>;
    run(stream_, workspace_, norm, x, weight, saved, d_y, d_residual, d_x, d_weight, d_bias);
  });
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
