#pragma once

#include "tensor/attention_heads.hpp"
#include "tensor/cuda/simt/elements.hpp"
#include "tensor/cuda/simt/reductions.hpp"
#include "tensor/cuda/simt/tile_products.hpp"

// What the kernels of flash attention have in common: how work is cut into tiles, and how tiles
// come from memory and go back.

namespace KUMIHIMO_CUDA_NAMESPACE {

/// A block holds `rows` rows, 16 of each warp, and `passing` rows at a time of the other side pass
/// by, in two stages: while one is worked on, the other is loaded. dim: head_dim, padded with
/// zeros.
template <class T, int dim_, bool backward>
struct FlashTiles {
  static constexpr bool is_bf16 = std::is_same_v<T, Bf16>;
  static constexpr int dim = dim_;
  static constexpr int warps = is_bf16 && dim > 32 ? 8 : 4;
  static constexpr int threads = 32 * warps;
  static constexpr int rows = 16 * warps;
  /// That share a multiprocessor: what registers are cut for.
  static constexpr int blocks = backward || dim > 64 ? 1 : 2;
  static constexpr int passing = is_bf16 && !(backward && dim > 64) ? 64 : 32;
  static constexpr int stride = tile_stride<T, dim>;
  /// Elements of a tile of the block, and of one that passes.
  static constexpr int held_elements = rows * stride;
  static constexpr int passing_elements = passing * stride;
  /// Shared memory of a block: one matrix held forward and two backward, two that pass by.
  static constexpr int tile_bytes =
      ((backward ? 2 : 1) * held_elements + 4 * passing_elements) * static_cast<int>(sizeof(T));
  /// More of it, where queries pass by: two numbers of each.
  static constexpr int row_bytes = 4 * passing * static_cast<int>(sizeof(float));
};

/// One head of one sequence, and where it ends.
template <class T>
struct Head {
  Rows<T> rows;
  int seq_length;
  int head_dim;
  bool aligned;  ///< rows are whole pieces of 16 bytes

  /// Rows that are there from `first` on, up to `count`.
  __device__ __forceinline__ int valid_rows(int first, int count) const {
    return seq_length - first < count ? seq_length - first : count;
  }
};

/// A matrix of heads side by side: [sequences x seq_length, heads x head_dim].
template <class T>
struct Heads {
  Rows<T> rows;
  int seq_length;
  int head_dim;
  bool aligned;

  __device__ __forceinline__ Head<T> head(std::int64_t sequence, std::int64_t number) const {
    return {{rows.at(sequence * seq_length, number * head_dim), rows.stride},
            seq_length,
            head_dim,
            aligned};
  }
};

template <class T>
Heads<T> heads_of(const AttentionShape& shape, const Matrix& matrix) {
  constexpr int piece = wide<std::remove_const_t<T>>;
  return {rows<T>(matrix), static_cast<int>(shape.seq_length), static_cast<int>(shape.head_dim),
          shape.head_dim % piece == 0 && is_aligned(matrix, piece)};
}

/// Begins to load `count` rows from `first` on into a tile of shared memory, by the whole block.
/// What is not there becomes 0. Ends with the block's next wait and barrier.
template <class Tiles, int count, class T>
__device__ __forceinline__ void load_tile(SharedPointer<T> tile, const Head<const T>& head,
                                          int first) {
  constexpr int piece = wide<T>;
  constexpr int pieces = Tiles::dim / piece;
  const int valid_rows = head.valid_rows(first, count);
  for (int i = static_cast<int>(threadIdx.x); i < count * pieces; i += Tiles::threads) {
    const int row = i / pieces, col = i % pieces * piece;
    const T* const from = head.rows.at(first + row, col);
    const auto to = tile + (row * Tiles::stride + col);
    if (head.aligned) {
      const bool valid = row < valid_rows && col < head.head_dim;
      copy_async<16>(to, valid ? from : head.rows.data, valid);
    } else {
#pragma unroll
      for (int j = 0; j < piece; ++j) {
        to[j] = row < valid_rows && col + j < head.head_dim ? from[j] : T{};
      }
    }
  }
}

/// factor x sums, 16 rows of one warp from `first` on, to memory. On the way they lie in `own`, 16
/// rows of a tile that only this warp has read, so that 16 bytes are written at once.
template <class Tiles, class T>
__device__ __forceinline__ void store_rows(const float (&sums)[Tiles::dim / 8][4],
                                           const float (&factors)[2], SharedPointer<T> own,
                                           const Head<T>& head, int first) {
  constexpr int piece = wide<T>;
  constexpr int pieces = Tiles::dim / piece;
  const Lane lane;
  __syncwarp();  // all lanes are done with what the rows held
#pragma unroll
  for (int tile = 0; tile < Tiles::dim / 8; ++tile) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Floats<2> pair = {
          {sums[tile][2 * half] * factors[half], sums[tile][2 * half + 1] * factors[half]}};
      store_vector(own + ((lane.row + 8 * half) * Tiles::stride + 8 * tile + lane.col),
                   narrowed_to<T>(pair));
    }
  }
  __syncwarp();
  const int valid_rows = head.valid_rows(first, 16);
  for (int i = lane.number; i < 16 * pieces; i += 32) {
    const int row = i / pieces, col = i % pieces * piece;
    if (row >= valid_rows || col >= head.head_dim) continue;
    T* const to = head.rows.at(first + row, col);
    const auto from = own + (row * Tiles::stride + col);
    if (head.aligned) {
      store_global_vector(to, load_vector<piece>(from));
    } else {
#pragma unroll
      for (int j = 0; j < piece; ++j) {
        if (col + j < head.head_dim) to[j] = from[j];
      }
    }
  }
}

/// Over the four lanes that share a row of sums.
template <class Operation>
__device__ __forceinline__ float row_reduce(float value, const Operation& operation) {
  value = operation(value, __shfl_xor_sync(all_lanes, value, 1));
  return operation(value, __shfl_xor_sync(all_lanes, value, 2));
}

struct FlashTask {
  int group;  ///< query heads of one key/value head
  float scale;
};

constexpr float log2_of_e = 1.4426950408889634f;

constexpr int largest_head = 128;

/// body(T{}, std::integral_constant<int, padded head_dim>()).
template <class Body>
void with_head_dim(const AttentionShape& shape, DType dtype, const Body& body) {
  KUMIHIMO_CHECK(shape.head_dim <= largest_head && shape.seq_length <= 0x3fff'ffff);
  with_type(dtype, [&](auto zero) {
    if (shape.head_dim <= 32) {
      body(zero, std::integral_constant<int, 32>());
    } else if (shape.head_dim <= 64) {
      body(zero, std::integral_constant<int, 64>());
    } else {
      body(zero, std::integral_constant<int, largest_head>());
    }
  });
}

/// Tiles of `rows` rows over a sequence, heads, sequences.
template <class Tiles>
Launch flash_launch(const AttentionShape& shape, std::int64_t heads, int elements_bytes) {
  KUMIHIMO_CHECK(heads <= 65535 && shape.sequences <= 65535);
  return {
      {blocks(pieces_of(shape.seq_length, Tiles::rows)), blocks(heads), blocks(shape.sequences)},
      Tiles::threads,
      static_cast<std::size_t>(elements_bytes)};
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
