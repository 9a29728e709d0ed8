#include "base/check.hpp"
#include "tensor/cuda/simt/over_elements.hpp"
#include "tensor/cuda/simt/over_matrix.hpp"
#include "tensor/cuda/simt/reductions.hpp"
#include "tensor/cuda/simt_kernels.hpp"

namespace KUMIHIMO_CUDA_NAMESPACE {
namespace {

/// In fp64 from the first product on: bound by memory where a GPU's fp64 rate is half of its fp32.
template <int width, class T>
__global__ void __launch_bounds__(share_threads)
    sum_of_squares_kernel(std::int64_t row_count, std::int64_t cols, Rows<const T> x,
                          double* sums) {
  SharedMemory shared;
  const auto scratch = shared.take<double>(scratch_for(1));
  double sum = 0;
  visit_share<width>(row_count, cols, [&](std::int64_t row, std::int64_t col, std::int64_t count) {
    const Floats<width> values = load<width>(x.at(row, col), count);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const double value = values.values[i];
      sum += value * value;
    }
  });
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) sums[share_number()] = sum;
}

/// One block: sum += all of sums.
__global__ void __launch_bounds__(share_threads)
    add_sums_kernel(std::int64_t count, const double* sums, double* sum) {
  SharedMemory shared;
  const auto scratch = shared.take<double>(scratch_for(1));
  double mine = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) mine += sums[i];
  mine = block_sum(mine, scratch);
  if (threadIdx.x == 0) *sum += mine;
}

/// What both optimizers do last. `weights` may be null.
template <int width, class W>
__device__ __forceinline__ void store_weights(const Floats<width>& master, float* to_master,
                                              W* weights, std::int64_t col, std::int64_t count) {
  store(to_master, master, count);
  if (weights != nullptr) store(weights + col, master, count);
}

template <class W>
struct UpdateAdamW {
  AdamW step;
  const float* gradient;
  float* master;
  float* m;
  float* v;
  W* weights;

  template <int width>
  __device__ void run(std::int64_t /*row*/, std::int64_t col, std::int64_t count) const {
    const Floats<width> g = load<width>(gradient + col, count);
    Floats<width> first = load<width>(m + col, count), second = load<width>(v + col, count);
    Floats<width> w = load<width>(master + col, count);
    const float kept = 1 - step.learning_rate * step.weight_decay;
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float scaled = g.values[i] * step.gradient_scale;
      first.values[i] = step.beta1 * first.values[i] + (1 - step.beta1) * scaled;
      second.values[i] = step.beta2 * second.values[i] + (1 - step.beta2) * scaled * scaled;
      const float direction = first.values[i] / step.correction1 /
                              (sqrtf(second.values[i] / step.correction2) + step.epsilon);
      w.values[i] = w.values[i] * kept - step.learning_rate * direction;
    }
    store(m + col, first, count);
    store(v + col, second, count);
    store_weights(w, master + col, weights, col, count);
  }
};

template <class W>
struct UpdateSgd {
  Sgd step;
  const float* gradient;
  float* master;
  float* m;
  W* weights;

  template <int width>
  __device__ void run(std::int64_t /*row*/, std::int64_t col, std::int64_t count) const {
    const Floats<width> g = load<width>(gradient + col, count);
    Floats<width> velocity = load<width>(m + col, count), w = load<width>(master + col, count);
    const float kept = 1 - step.learning_rate * step.weight_decay;
#pragma unroll
    for (int i = 0; i < width; ++i) {
      velocity.values[i] = step.momentum * velocity.values[i] + g.values[i] * step.gradient_scale;
      w.values[i] = w.values[i] * kept - step.learning_rate * velocity.values[i];
    }
    store(m + col, velocity, count);
    store_weights(w, master + col, weights, col, count);
  }
};

bool is_piece(const Matrix& matrix, const Matrix& master) {
  return has_shape(matrix, 1, master.cols) && matrix.dtype == DType::fp32;
}

/// Where weights are to be written besides master; of master's own place there is no need.
Matrix separate_weights(const Matrix& weights, const Matrix& master) {
  KUMIHIMO_CHECK(weights.empty() || same_shape(weights, master));
  return weights.data == master.data ? Matrix{} : weights;
}

/// update_with(W*) gives the body; both matrices of weights are fp32 or bf16.
template <class UpdateWith, class... Matrices>
void update(Stream stream, const Matrix& master, const Matrix& weights,
            const UpdateWith& update_with, const Matrices&... others) {
  const Matrix separate = separate_weights(weights, master);
  with_type(separate.dtype, [&](auto zero) {
    using W = decltype(zero);
    with_width<wide<float>>(
        [&](auto width) {
          over_elements<decltype(width)::value>(stream, 1, master.cols,
                                                update_with(static_cast<W*>(separate.data)));
        },
        master, separate, others...);
  });
}

float* floats_of(const Matrix& matrix) { return static_cast<float*>(matrix.data); }

}  // namespace

void SimtKernels::sum_of_squares(const Matrix& x, const Matrix& sum) {
  KUMIHIMO_CHECK(has_shape(sum, 1, 1) && sum.dtype == DType::fp64);
  if (x.elements() == 0) return;
  const Workspace::Scope scope(workspace_);
  const Matrix all = as_one_row(x);
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_width<wide<T>>(
        [&](auto chosen) {
          constexpr int width = decltype(chosen)::value;
          const Shares shares = shares_of(all, width);
          const Matrix sums = workspace_.take(1, shares.count(), DType::fp64);
          auto* const sums_data = static_cast<double*>(sums.data);
          constexpr std::size_t scratch = scratch_for(1) * sizeof(double);
          launch(sum_of_squares_kernel<width, T>,
                 {{shares.across, shares.down}, share_threads, scratch}, stream_, all.rows,
                 all.cols, rows<const T>(all), sums_data);
          launch(add_sums_kernel, {{1}, share_threads, scratch}, stream_, shares.count(), sums_data,
                 static_cast<double*>(sum.data));
        },
        all);
  });
}

void SimtKernels::adamw(const AdamW& step, const Matrix& gradient, const Matrix& master,
                        const Matrix& m, const Matrix& v, const Matrix& weights) {
  KUMIHIMO_CHECK(is_piece(master, master) && is_piece(gradient, master));
  KUMIHIMO_CHECK(is_piece(m, master) && is_piece(v, master));
  update(
      stream_, master, weights,
      [&](auto* separate) {
        return UpdateAdamW<std::remove_pointer_t<decltype(separate)>>{
            step, floats_of(gradient), floats_of(master), floats_of(m), floats_of(v), separate};
      },
      gradient, m, v);
}

void SimtKernels::sgd(const Sgd& step, const Matrix& gradient, const Matrix& master,
                      const Matrix& m, const Matrix& weights) {
  KUMIHIMO_CHECK(is_piece(master, master) && is_piece(gradient, master) && is_piece(m, master));
  update(
      stream_, master, weights,
      [&](auto* separate) {
        return UpdateSgd<std::remove_pointer_t<decltype(separate)>>{
            step, floats_of(gradient), floats_of(master), floats_of(m), separate};
      },
      gradient, m);
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
