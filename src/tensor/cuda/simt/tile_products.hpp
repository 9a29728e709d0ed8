#pragma once

#include <type_traits>

#include "tensor/cuda/simt/simt.hpp"

// Products of small matrices, each by one warp. Sums are 16 rows of 8 x tiles columns, spread over
// the lanes as the matrix unit does it: with g = lane / 4 and t = lane % 4, sums[tile] of a lane
// are
//   row g:      columns 8 tile + 2t, 8 tile + 2t + 1     ([0], [1])
//   row g + 8:  the same columns                         ([2], [3])
// bf16: mma.m16n8k16. fp32: the same sums by FMAs.

namespace KUMIHIMO_CUDA_NAMESPACE {

/// Elements from one row of a tile in shared memory to the next. The 16 bytes beyond its `cols`
/// elements let eight lanes read 16 bytes each from eight rows without bank conflicts.
template <class T, int cols>
inline constexpr int tile_stride = cols + static_cast<int>(16 / sizeof(T));

struct Lane {
  int number = static_cast<int>(threadIdx.x) % 32;
  int row = number / 4;      ///< of its sums; and the one 8 below
  int col = number % 4 * 2;  ///< of its sums in each tile; and the next

  __device__ __forceinline__ Lane() {}
};

/// sums += left right^T. left: 16 rows of `depth` elements; right: 8 x tiles rows of `depth`.
template <int depth, int tiles, class T>
__device__ __forceinline__ void multiply_by_transposed(float (&sums)[tiles][4],
                                                       SharedPointer<const T> left,
                                                       SharedPointer<const T> right) {
  constexpr int stride = tile_stride<T, depth>;
  const Lane lane;
  if constexpr (std::is_same_v<T, float>) {
#pragma unroll 2
    for (int k = 0; k < depth; k += 4) {
      const auto upper = load_vector<4>(left + lane.row * stride + k);
      const auto lower = load_vector<4>(left + (lane.row + 8) * stride + k);
#pragma unroll
      for (int tile = 0; tile < tiles; ++tile) {
#pragma unroll
        for (int next = 0; next < 2; ++next) {
          const auto other = load_vector<4>(right + (8 * tile + lane.col + next) * stride + k);
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            sums[tile][next] += upper.elements[i] * other.elements[i];
            sums[tile][2 + next] += lower.elements[i] * other.elements[i];
          }
        }
      }
    }
  } else {
    const auto left_row = left + lane.number % 16 * stride + lane.number / 16 * 8;
    const auto right_row =
        right + (lane.number / 16 * 8 + lane.number % 8) * stride + lane.number / 8 % 2 * 8;
#pragma unroll
    for (int k = 0; k < depth; k += 16) {
      std::uint32_t a[4];
      load_matrices(a, left_row + k);
#pragma unroll
      for (int tile = 0; tile < tiles; tile += 2) {
        std::uint32_t b[4];
        load_matrices(b, right_row + (8 * tile * stride + k));
        multiply_16x8x16(sums[tile], a, {b[0], b[1]});
        multiply_16x8x16(sums[tile + 1], a, {b[2], b[3]});
      }
    }
  }
}

/// sums += left right. left: sums of another product, 16 rows of 8 x depth_tiles, rounded to T;
/// right: 8 x depth_tiles rows of 8 x tiles elements.
template <class T, int depth_tiles, int tiles>
__device__ __forceinline__ void multiply(float (&sums)[tiles][4],
                                         const float (&left)[depth_tiles][4],
                                         SharedPointer<const T> right) {
  constexpr int stride = tile_stride<T, 8 * tiles>;
  const Lane lane;
  if constexpr (std::is_same_v<T, float>) {
#pragma unroll
    for (int k = 0; k < 8 * depth_tiles; ++k) {
      const int holder = lane.row * 4 + k % 8 / 2;
      const float upper = __shfl_sync(all_lanes, left[k / 8][k % 2], holder);
      const float lower = __shfl_sync(all_lanes, left[k / 8][2 + k % 2], holder);
#pragma unroll
      for (int tile = 0; tile < tiles; ++tile) {
        const auto other = load_vector<2>(right + (k * stride + 8 * tile + lane.col));
        sums[tile][0] += upper * other.elements[0];
        sums[tile][1] += upper * other.elements[1];
        sums[tile][2] += lower * other.elements[0];
        sums[tile][3] += lower * other.elements[1];
      }
    }
  } else {
    const auto right_row = right + lane.number % 16 * stride + lane.number / 16 * 8;
#pragma unroll
    for (int k = 0; k < depth_tiles; k += 2) {
      // A lane's sums of two neighbouring tiles are just what it must hold of a left operand.
      const std::uint32_t a[4] = {narrowed_pair(left[k][0], left[k][1]),
                                  narrowed_pair(left[k][2], left[k][3]),
                                  narrowed_pair(left[k + 1][0], left[k + 1][1]),
                                  narrowed_pair(left[k + 1][2], left[k + 1][3])};
#pragma unroll
      for (int tile = 0; tile < tiles; tile += 2) {
        std::uint32_t b[4];
        load_matrices_transposed(b, right_row + (8 * k * stride + 8 * tile));
        multiply_16x8x16(sums[tile], a, {b[0], b[1]});
        multiply_16x8x16(sums[tile + 1], a, {b[2], b[3]});
      }
    }
  }
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
