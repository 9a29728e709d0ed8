#pragma once

#include "tensor/cuda/simt/elements.hpp"

// One number of a whole matrix: each block takes a share of it, and leaves what it found in the
// workspace; a last block puts that together, in order.

namespace KUMIHIMO_CUDA_NAMESPACE {

inline constexpr unsigned share_threads = 256;

/// visit(std::integral_constant<int, width>(), row, col) of each of the thread's `width`
/// neighbours; with 1 for width at the end of a row.
template <int width, class Visit>
__device__ __forceinline__ void visit_share(std::int64_t row_count, std::int64_t cols,
                                            const Visit& visit) {
  const std::int64_t first = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * width;
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x * width;
  for (std::int64_t row = blockIdx.y; row < row_count; row += gridDim.y) {
    for (std::int64_t col = first; col < cols; col += step) {
      if (cols - col >= width) {
        visit(std::integral_constant<int, width>(), row, col);
      } else {
        for (std::int64_t i = col; i < cols; ++i) visit(std::integral_constant<int, 1>(), row, i);
      }
    }
  }
}

/// Which of the grid's blocks this is.
__device__ __forceinline__ std::int64_t share_number() {
  return std::int64_t{blockIdx.y} * gridDim.x + blockIdx.x;
}

struct Shares {
  unsigned across = 0;  ///< blocks side by side over the columns
  unsigned down = 0;    ///< over the rows

  std::int64_t count() const { return std::int64_t{across} * down; }
};

/// About a thousand at the most, and eight vectors a thread.
inline Shares shares_of(const Matrix& matrix, int width) {
  constexpr std::int64_t most = 1024;
  const std::int64_t threads_work = std::int64_t{share_threads} * width;
  if (matrix.rows <= 1) {
    return {static_cast<unsigned>(std::min(most, pieces_of(matrix.cols, 8 * threads_work))), 1};
  }
  const std::int64_t across = std::min(most, pieces_of(matrix.cols, threads_work));
  return {static_cast<unsigned>(across),
          static_cast<unsigned>(std::min(matrix.rows, std::max<std::int64_t>(1, most / across)))};
}

/// The same memory as one row, where it has no gaps.
inline Matrix as_one_row(const Matrix& matrix) {
  return matrix.contiguous() ? reshaped(matrix, 1, matrix.elements()) : matrix;
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
