#pragma once

#include "tensor/cuda/simt/elements.hpp"

// Operations on each element by itself. Bound by memory: each thread moves 16 bytes of each matrix.

namespace KUMIHIMO_CUDA_NAMESPACE {

/// body.run<width>(row, col, width) of every `width` neighbours of every row, and run<1>(row, col,
/// 1) of what is left at its end. That whole vectors are known to be whole lets a thread ask for
/// all that it needs at once: with a branch in each load it would wait for one before the next.
template <int width, class Body>
__global__ void __launch_bounds__(256)
    over_elements_kernel(std::int64_t row_count, std::int64_t cols, Body body) {
  const std::int64_t col = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * width;
  const std::int64_t count = cols - col;
  for (std::int64_t row = blockIdx.y; row < row_count; row += gridDim.y) {
    if (count >= width) {
      body.template run<width>(row, col, width);
    } else {
      for (int i = 0; i < count; ++i) body.template run<1>(row, col + i, 1);
    }
  }
}

/// Of rows x cols elements of matrices that are aligned for `width`.
template <int width, class Body>
void over_elements(Stream stream, std::int64_t row_count, std::int64_t cols, const Body& body) {
  if (row_count == 0 || cols == 0) return;
  const std::int64_t vectors = pieces_of(cols, width);
  const unsigned threads = threads_for(vectors, 256);
  launch(over_elements_kernel<width, Body>,
         {{blocks(pieces_of(vectors, threads)), blocks_up_to_limit(row_count)}, threads}, stream,
         row_count, cols, body);
}

/// What treats every element alike: over_elements with body_of(matrices...), matrices of one shape,
/// each of them one long row where none has gaps between rows.
template <int width, class BodyOf, class... Others>
void over_all_elements(Stream stream, const BodyOf& body_of, const Matrix& first,
                       const Others&... others) {
  const auto run = [&](const Matrix& x, const auto&... more) {
    with_width<width>(
        [&](auto chosen) {
          over_elements<decltype(chosen)::value>(stream, x.rows, x.cols, body_of(x, more...));
        },
        x, more...);
  };
  const auto flattened = [](const Matrix& matrix) {
    return reshaped(matrix, 1, matrix.elements());
  };
  if (first.contiguous() && (others.contiguous() && ...)) {
    run(flattened(first), flattened(others)...);
  } else {
    run(first, others...);
  }
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
