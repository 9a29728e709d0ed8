#include "base/check.hpp"
#include "tensor/cuda/simt/column_sums.hpp"
#include "tensor/cuda/simt/elements.hpp"

namespace KUMIHIMO_CUDA_NAMESPACE {
namespace {

// A block sums up to `rows_per_block` rows of 32 vectors of columns: lanes beside each other in a
// row, so that a warp reads 512 bytes of it; warps below each other.
constexpr unsigned warps = 8;
constexpr std::int64_t rows_per_block = 128;

template <int width, bool has_factor, bool accumulated, class T>
__global__ void __launch_bounds__(32 * warps)
    sum_rows_kernel(std::int64_t row_count, std::int64_t cols, std::int64_t rows_each,
                    Rows<const T> x, Rows<const T> factor, Rows<float> sums) {
  SharedMemory shared;
  const auto of_warps = shared.take<float>(warps * width * 32);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const std::int64_t block_col = std::int64_t{blockIdx.x} * 32 * width;
  const std::int64_t col = block_col + lane * width;
  const std::int64_t first = blockIdx.y * rows_each;
  const std::int64_t end = first + rows_each < row_count ? first + rows_each : row_count;

  Floats<width> sum = {};
  if (col < cols) {
#pragma unroll 4
    for (std::int64_t row = first + warp; row < end; row += warps) {
      const Floats<width> values = load<width>(x.at(row, col), cols - col);
      if constexpr (has_factor) {
        const Floats<width> times = load<width>(factor.at(row, col), cols - col);
#pragma unroll
        for (int i = 0; i < width; ++i) sum.values[i] += values.values[i] * times.values[i];
      } else {
#pragma unroll
        for (int i = 0; i < width; ++i) sum.values[i] += values.values[i];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < width; ++i) of_warps[(warp * width + i) * 32 + lane] = sum.values[i];
  __syncthreads();

  // Neighbouring threads finish neighbouring columns.
  for (int of_block = static_cast<int>(threadIdx.x); of_block < 32 * width;
       of_block += static_cast<int>(blockDim.x)) {
    const int from = of_block % width * 32 + of_block / width;
    if (block_col + of_block >= cols) continue;
    float total = 0;
#pragma unroll
    for (int w = 0; w < static_cast<int>(warps); ++w) total += of_warps[w * width * 32 + from];
    float* const to = sums.at(blockIdx.y, block_col + of_block);
    *to = accumulated ? *to + total : total;
  }
}

template <bool accumulated>
void sum_rows(Stream stream, const Matrix& x, const Matrix& factor, std::int64_t rows_each,
              const Matrix& sums) {
  const Matrix& like_x = factor.empty() ? x : factor;
  with_type(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    with_width<wide<T>>(
        [&](auto chosen) {
          constexpr int width = decltype(chosen)::value;
          launch(factor.empty() ? sum_rows_kernel<width, false, accumulated, T>
                                : sum_rows_kernel<width, true, accumulated, T>,
                 {{blocks(pieces_of(x.cols, 32 * width)), blocks(pieces_of(x.rows, rows_each))},
                  32 * warps,
                  warps * width * 32 * sizeof(float)},
                 stream, x.rows, x.cols, rows_each, rows<const T>(x), rows<const T>(factor),
                 rows<float>(sums));
        },
        x, like_x);
  });
}

}  // namespace

void add_column_sums(Stream stream, Workspace& workspace, const Matrix& x, const Matrix& factor,
                     const Matrix& sums) {
  KUMIHIMO_CHECK(has_shape(sums, 1, x.cols) && sums.dtype == DType::fp32);
  KUMIHIMO_CHECK(factor.empty() || (same_shape(factor, x) && factor.dtype == x.dtype));
  if (x.elements() == 0) return;
  if (x.rows <= rows_per_block) return sum_rows<true>(stream, x, factor, x.rows, sums);
  const Workspace::Scope scope(workspace);
  const Matrix partial = workspace.take(pieces_of(x.rows, rows_per_block), x.cols, DType::fp32);
  sum_rows<false>(stream, x, factor, rows_per_block, partial);
  sum_rows<true>(stream, partial, {}, partial.rows, sums);
}

void SimtKernels::bias_backward(const Matrix& d_y, const Matrix& d_bias) {
  add_column_sums(stream_, workspace_, d_y, {}, d_bias);
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
