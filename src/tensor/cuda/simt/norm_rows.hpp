#pragma once

#include "tensor/cuda/simt/reductions.hpp"
#include "tensor/cuda/simt_kernels.hpp"

// RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467), for which the mean is taken as 0, and
// LayerNorm (Ba et al. 2016, arXiv:1607.06450), of each row x:
//   n = (x - mean) / sqrt(mean of (x - mean)^2 + epsilon)        y = n weight + bias
// and backward, with g = d_y weight and mean(g) LayerNorm's only:
//   d_x = (g - mean(g) - n mean(g n)) / deviation      d_weight = sum d_y n      d_bias = sum d_y
// Here is what the fused and the unfused kernels have in common.

namespace KUMIHIMO_CUDA_NAMESPACE {

constexpr unsigned most_threads = 512;
constexpr int kept_vectors = 2;

inline unsigned threads_of_row(std::int64_t cols, int width) {
  return threads_for(pieces_of(cols, std::int64_t{kept_vectors} * width), most_threads);
}

struct NormTask {
  std::int64_t cols;
  float epsilon;
  bool has_mean;
};

/// Pointers to the statistics of rows. `mean` is null for RMSNorm.
struct Statistics {
  Rows<float> mean;
  Rows<float> inverse_deviation;

  __device__ __forceinline__ float mean_of(std::int64_t row) const {
    return mean.data != nullptr ? *mean.at(row, 0) : 0.0f;
  }
};

inline Statistics statistics_of(const NormKinds& norm, const NormSaved& saved) {
  const bool has_mean = norm.kind == NormKind::layer_norm;
  return {rows<float>(has_mean ? saved.mean : Matrix{}), rows<float>(saved.inverse_deviation)};
}

inline NormTask task_of(const NormKinds& norm, std::int64_t cols) {
  return {cols, static_cast<float>(norm.epsilon), norm.kind == NormKind::layer_norm};
}

struct RowStatistics {
  float mean;
  float inverse_deviation;
};

/// Of the row that the block's threads share in `own`; load(col) gives a vector once more.
template <class T, int width, class Load>
__device__ __forceinline__ RowStatistics
statistics_of_row(const NormTask& task, OwnVectors<Vector<T, width>, width, kept_vectors>& own,
                  float sum, const Load& load, SharedPointer<float> scratch) {
  const auto features = static_cast<float>(task.cols);
  float mean = 0;
  if (task.has_mean) mean = block_sum(sum, scratch) / features;
  float squares = 0;
  own.visit(task.cols, load, [&](int, std::int64_t, const Vector<T, width>& vector) {
    const Floats<width> x = widened(vector);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float distance = x.values[i] - mean;
      squares += distance * distance;
    }
  });
  const float variance = block_sum(squares, scratch) / features;
  return {mean, 1 / sqrtf(variance + task.epsilon)};
}

__device__ __forceinline__ void keep(const Statistics& saved, std::int64_t row,
                                     const RowStatistics& statistics) {
  if (threadIdx.x != 0) return;
  *saved.inverse_deviation.at(row, 0) = statistics.inverse_deviation;
  if (saved.mean.data != nullptr) *saved.mean.at(row, 0) = statistics.mean;
}

/// A vector of d_residual; zeros where there is none.
template <int width, class T>
__device__ __forceinline__ Vector<T, width> load_residual(const Rows<const T>& d_residual,
                                                          std::int64_t row, std::int64_t col) {
  if (d_residual.data == nullptr) return {};
  return load_elements<width>(d_residual.at(row, col), width);
}

/// d_x = d_residual + (g - mean_g - n mean_gn) / deviation, of one vector.
template <int width, class T>
__device__ __forceinline__ void finish_vector(const RowStatistics& statistics, float mean_g,
                                              float mean_gn, const Floats<width>& x,
                                              const Floats<width>& g,
                                              const Vector<T, width>& d_residual, T* d_x) {
  Floats<width> result = widened(d_residual);
#pragma unroll
  for (int i = 0; i < width; ++i) {
    const float n = (x.values[i] - statistics.mean) * statistics.inverse_deviation;
    result.values[i] += (g.values[i] - mean_g - n * mean_gn) * statistics.inverse_deviation;
  }
  store(d_x, result, width);
}

/// An operand that may be absent, and then hinders nothing.
inline const Matrix& or_else(const Matrix& optional, const Matrix& other) {
  return optional.empty() ? other : optional;
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
