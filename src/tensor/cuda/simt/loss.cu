#include "base/check.hpp"
#include "tensor/cuda/simt/over_elements.hpp"
#include "tensor/cuda/simt/reductions.hpp"
#include "tensor/cuda/simt_kernels.hpp"

namespace KUMIHIMO_CUDA_NAMESPACE {
namespace {

// Columns of the statistics.
constexpr int maximum_col = 0, sum_col = 1, target_col = 2;

constexpr unsigned row_threads = 512;

/// What exp(value - maximum) is worth; with nothing seen so far, nothing.
__device__ __forceinline__ float exponential(float value, float maximum) {
  return value == minus_infinity ? 0.0f : expf(value - maximum);
}

/// One pass over the logits: each thread holds the maximum so far, and the sum relative to it, of
/// its columns. Grid: tokens.
template <int width, class T>
__global__ void __launch_bounds__(row_threads)
    statistics_kernel(Rows<const T> logits, Rows<const std::int32_t> targets,
                      std::int64_t first_col, std::int64_t valid_cols, Rows<float> statistics) {
  SharedMemory shared;
  const auto scratch = shared.take<float>(scratch_for(1));
  const std::int64_t token = blockIdx.x;
  float maximum = minus_infinity, sum = 0;
  for (std::int64_t col = std::int64_t{threadIdx.x} * width; col < valid_cols;
       col += std::int64_t{blockDim.x} * width) {
    Floats<width> values = load<width>(logits.at(token, col), width);
    if (valid_cols - col < width) {  // the rest is padding
#pragma unroll
      for (int i = 0; i < width; ++i) {
        if (col + i >= valid_cols) values.values[i] = minus_infinity;
      }
    }
    float largest = maximum;
#pragma unroll
    for (int i = 0; i < width; ++i) largest = Larger()(largest, values.values[i]);
    sum *= exponential(maximum, largest);
    maximum = largest;
    const float reference = largest == minus_infinity ? 0.0f : largest;
#pragma unroll
    for (int i = 0; i < width; ++i) sum += expf(values.values[i] - reference);
  }
  const float of_block = block_maximum(maximum, scratch);
  sum = block_sum(sum * exponential(maximum, of_block), scratch);
  if (threadIdx.x != 0) return;
  const std::int64_t target = *targets.at(token, 0) - first_col;
  const bool here = 0 <= target && target < valid_cols;
  *statistics.at(token, maximum_col) = of_block;
  *statistics.at(token, sum_col) = sum;
  *statistics.at(token, target_col) = here ? widened(*logits.at(token, target)) : 0.0f;
}

constexpr unsigned combine_threads = 1024;

/// One block, so that losses are added in one order.
__global__ void __launch_bounds__(combine_threads)
    combine_kernel(std::int64_t tokens, std::int64_t parts, Rows<const float> statistics,
                   Rows<float> log_sum_exp, double* loss_sum) {
  SharedMemory shared;
  const auto scratch = shared.take<double>(scratch_for(1));
  double loss = 0;
  for (std::int64_t token = threadIdx.x; token < tokens; token += blockDim.x) {
    float maximum = minus_infinity;
    for (std::int64_t part = 0; part < parts; ++part) {
      maximum = Larger()(maximum, *statistics.at(part * tokens + token, maximum_col));
    }
    float sum = 0, target_logit = 0;
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t row = part * tokens + token;
      // A part of padding alone has neither maximum nor sum.
      sum += *statistics.at(row, sum_col) * exponential(*statistics.at(row, maximum_col), maximum);
      target_logit += *statistics.at(row, target_col);
    }
    const double log_sum = static_cast<double>(maximum) + log(static_cast<double>(sum));
    *log_sum_exp.at(token, 0) = static_cast<float>(log_sum);
    loss += log_sum - static_cast<double>(target_logit);
  }
  loss = block_sum(loss, scratch);
  if (threadIdx.x == 0) *loss_sum += loss;
}

template <class T>
struct LossGradient {
  Rows<T> logits;
  Rows<const std::int32_t> targets;
  std::int64_t first_col, valid_cols;
  Rows<const float> log_sum_exp;
  float scale;

  template <int width>
  __device__ void run(std::int64_t token, std::int64_t col, std::int64_t count) const {
    Floats<width> values = load<width>(logits.at(token, col), count);
    const float log_sum = *log_sum_exp.at(token, 0);
    const std::int64_t target = *targets.at(token, 0) - first_col;
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float is_target = col + i == target ? 1.0f : 0.0f;
      const float gradient = scale * (expf(values.values[i] - log_sum) - is_target);
      values.values[i] = col + i < valid_cols ? gradient : 0.0f;
    }
    store(logits.at(token, col), values, count);
  }
};

}  // namespace

void SimtKernels::cross_entropy_statistics(const Matrix& logits, const Matrix& targets,
                                           std::int64_t first_col, std::int64_t valid_cols,
                                           const Matrix& statistics) {
  KUMIHIMO_CHECK(0 <= valid_cols && valid_cols <= logits.cols);
  KUMIHIMO_CHECK(targets.rows == logits.rows && has_shape(statistics, logits.rows, 3));
  KUMIHIMO_CHECK(targets.dtype == DType::int32 && statistics.dtype == DType::fp32);
  with_type(logits.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_whole_width<wide<T>>(
        [&](auto chosen) {
          constexpr int width = decltype(chosen)::value;
          launch(statistics_kernel<width, T>,
                 {{blocks(logits.rows)},
                  threads_for(pieces_of(valid_cols, width), row_threads),
                  scratch_for(1) * sizeof(float)},
                 stream_, rows<const T>(logits), rows<const std::int32_t>(targets), first_col,
                 valid_cols, rows<float>(statistics));
        },
        logits);
  });
}

void SimtKernels::cross_entropy_combine(const Matrix& statistics, std::int64_t parts,
                                        const Matrix& log_sum_exp, const Matrix& loss_sum) {
  const std::int64_t tokens = log_sum_exp.rows;
  KUMIHIMO_CHECK(has_shape(statistics, parts * tokens, 3) && log_sum_exp.cols == 1);
  KUMIHIMO_CHECK(statistics.dtype == DType::fp32 && log_sum_exp.dtype == DType::fp32);
  KUMIHIMO_CHECK(has_shape(loss_sum, 1, 1) && loss_sum.dtype == DType::fp64);
  if (tokens == 0) return;
  launch(combine_kernel,
         {{1}, threads_for(tokens, combine_threads), scratch_for(1) * sizeof(double)}, stream_,
         tokens, parts, rows<const float>(statistics), rows<float>(log_sum_exp),
         static_cast<double*>(loss_sum.data));
}

void SimtKernels::cross_entropy_backward(const Matrix& logits, const Matrix& targets,
                                         std::int64_t first_col, std::int64_t valid_cols,
                                         const Matrix& log_sum_exp, float scale) {
  KUMIHIMO_CHECK(0 <= valid_cols && valid_cols <= logits.cols);
  KUMIHIMO_CHECK(targets.rows == logits.rows && has_shape(log_sum_exp, logits.rows, 1));
  KUMIHIMO_CHECK(targets.dtype == DType::int32 && log_sum_exp.dtype == DType::fp32);
  with_type(logits.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_width<wide<T>>(
        [&](auto width) {
          over_elements<decltype(width)::value>(
              stream_, logits.rows, logits.cols,
              LossGradient<T>{rows<T>(logits), rows<const std::int32_t>(targets), first_col,
                              valid_cols, rows<const float>(log_sum_exp), scale});
        },
        logits);
  });
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
