#include <algorithm>
#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp8.h>

#include "base/check.hpp"
#include "tensor/cuda/cuda_call.hpp"
#include "tensor/cuda/fp8_operands.hpp"

namespace kumihimo::cuda {
namespace {

// A tile of 64 x 64 bytes passes through shared memory; a thread moves 4 bytes of a row at a time.
constexpr int tile = 64;
constexpr int bytes_each = 4;
constexpr int columns_of_threads = tile / bytes_each;  // 16
constexpr int rows_of_threads = 16;

struct Bytes2D {
  const std::uint8_t* in;
  std::uint8_t* out;
  std::int64_t rows, cols, in_stride, out_stride;
};

/// Tiles are numbered in one dimension: a grid's second has room for 65,535.
__global__ void transpose_tile(const Bytes2D x, std::int64_t tiles_across) {
  // One word more a row, so that a column's bytes lie in different banks.
  __shared__ std::uint8_t held[tile][tile + bytes_each];
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.x) / tiles_across * tile;
  const std::int64_t first_col = static_cast<std::int64_t>(blockIdx.x) % tiles_across * tile;
  for (int row = threadIdx.y; row < tile; row += rows_of_threads) {
    for (int byte = 0; byte < bytes_each; ++byte) {
      const int col = threadIdx.x * bytes_each + byte;
      if (first_row + row < x.rows && first_col + col < x.cols) {
        held[row][col] = x.in[(first_row + row) * x.in_stride + first_col + col];
      }
    }
  }
  __syncthreads();
  for (int col = threadIdx.y; col < tile; col += rows_of_threads) {
    for (int byte = 0; byte < bytes_each; ++byte) {
      const int row = threadIdx.x * bytes_each + byte;
      if (first_row + row < x.rows && first_col + col < x.cols) {
        x.out[(first_col + col) * x.out_stride + first_row + row] = held[row][col];
      }
    }
  }
}

template <__nv_fp8_interpretation_t format>
__global__ void widen(const Bytes2D x, __nv_bfloat16* out) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  const std::int64_t count = x.rows * x.cols;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step) {
    const std::int64_t row = i / x.cols, col = i % x.cols;
    const __half_raw half = __nv_cvt_fp8_to_halfraw(x.in[row * x.in_stride + col], format);
    out[row * x.out_stride + col] = __float2bfloat16_rn(__half2float(__half(half)));
  }
}

Bytes2D bytes_of_matrices(const Matrix& in, const Matrix& out) {
  return {static_cast<const std::uint8_t*>(in.data),
          static_cast<std::uint8_t*>(out.data),
          in.rows,
          in.cols,
          in.stride,
          out.stride};
}

}  // namespace

void transpose_fp8(const Matrix& in, const Matrix& out, cudaStream_t stream) {
  KUMIHIMO_CHECK(in.dtype == out.dtype && in.rows == out.cols && in.cols == out.rows);
  if (in.elements() == 0) return;
  const std::int64_t across = (in.cols + tile - 1) / tile;
  const std::int64_t down = (in.rows + tile - 1) / tile;
  transpose_tile<<<static_cast<unsigned>(across * down), dim3(columns_of_threads, rows_of_threads),
                   0, stream>>>(bytes_of_matrices(in, out), across);
  check(cudaGetLastError());
}

void widen_fp8(const Matrix& in, const Matrix& out, cudaStream_t stream) {
  KUMIHIMO_CHECK(out.dtype == DType::bf16 && in.rows == out.rows && in.cols == out.cols);
  if (in.elements() == 0) return;
  constexpr int threads = 256;
  constexpr std::int64_t most_blocks = 2048;
  const auto blocks = static_cast<unsigned>(
      std::min<std::int64_t>(most_blocks, (in.elements() + threads - 1) / threads));
  const auto kernel = in.dtype == DType::fp8_e4m3 ? widen<__NV_E4M3> : widen<__NV_E5M2>;
  kernel<<<blocks, threads, 0, stream>>>(bytes_of_matrices(in, out),
                                         static_cast<__nv_bfloat16*>(out.data));
  check(cudaGetLastError());
}

}  // namespace kumihimo::cuda
