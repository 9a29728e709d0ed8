#include "tensor/cuda/simt/flash_tiles.hpp"
#include "tensor/cuda/simt_kernels.hpp"

// FlashAttention-2 (Dao 2023, arXiv:2307.08691), forward. A block holds some queries of one head;
// the keys and values that they may see pass by in tiles. Each warp has 16 queries, whose scores,
// output and running softmax stay in its registers: for each row the maximum so far and the sum of
// exp(score - maximum), by which what was summed before is corrected when the maximum grows.

namespace KUMIHIMO_CUDA_NAMESPACE {
namespace {

template <class T, int dim>
__global__ void __launch_bounds__(FlashTiles<T, dim, false>::threads,
                                  FlashTiles<T, dim, false>::blocks)
    flash_forward_kernel(FlashTask task, Heads<const T> q, Heads<const T> k, Heads<const T> v,
                         Heads<T> out, Rows<float> log_sum_exp) {
  using Tiles = FlashTiles<T, dim, false>;
  constexpr int passing = Tiles::passing;
  const Lane lane;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int block = static_cast<int>(gridDim.x - 1 - blockIdx.x);  // those with most keys first
  const int head = static_cast<int>(blockIdx.y);
  const int seq_length = q.seq_length;
  const int first_query = block * Tiles::rows;
  const int first_row = first_query + 16 * warp;
  const auto q_head = q.head(blockIdx.z, head);
  const auto k_head = k.head(blockIdx.z, head / task.group);
  const auto v_head = v.head(blockIdx.z, head / task.group);

  SharedMemory shared;
  const auto q_tile = shared.take<T>(Tiles::held_elements);
  const auto k_tiles = shared.take<T>(2 * Tiles::passing_elements);
  const auto v_tiles = shared.take<T>(2 * Tiles::passing_elements);
  const auto own_queries = q_tile + 16 * warp * Tiles::stride;
  const auto load_stage = [&](int number) {
    const int at = number % 2 * Tiles::passing_elements;
    load_tile<Tiles, passing, T>(k_tiles + at, k_head, number * passing);
    load_tile<Tiles, passing, T>(v_tiles + at, v_head, number * passing);
    commit_copies();
  };
  load_tile<Tiles, Tiles::rows, T>(q_tile, q_head, first_query);
  load_stage(0);

  const float to_exponent = task.scale * log2_of_e;  // exp(scale x) = 2^(to_exponent x)
  float maximum[2] = {minus_infinity, minus_infinity}, sum[2] = {0, 0};
  float output[dim / 8][4] = {};
  const int last_query = first_query + q_head.valid_rows(first_query, Tiles::rows) - 1;
  const int stages = last_query / passing + 1;
  for (int number = 0; number < stages; ++number) {
    wait_for_copies<0>();
    __syncthreads();  // this stage is loaded, and the other one has been used
    if (number + 1 < stages) load_stage(number + 1);
    const int first_key = number * passing;
    // Tiles begin at multiples of 16: if the last row of a warp sees any key, the first does too.
    if (first_key > first_row + 15 || first_row >= seq_length) continue;
    const int at = number % 2 * Tiles::passing_elements;

    float scores[passing / 8][4] = {};
    multiply_by_transposed<dim, passing / 8, T>(scores, own_queries, k_tiles + at);
    if (first_key + passing > first_row) {
#pragma unroll
      for (int tile = 0; tile < passing / 8; ++tile) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int key = first_key + 8 * tile + lane.col + i % 2;
          if (key > first_row + lane.row + i / 2 * 8) scores[tile][i] = minus_infinity;
        }
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = maximum[half];
#pragma unroll
      for (int tile = 0; tile < passing / 8; ++tile) {
        largest = Larger()(largest, scores[tile][2 * half]);
        largest = Larger()(largest, scores[tile][2 * half + 1]);
      }
      largest = row_reduce(largest, Larger());
      const float correction = fast_exp2((maximum[half] - largest) * to_exponent);
      maximum[half] = largest;
      sum[half] *= correction;
#pragma unroll
      for (int tile = 0; tile < dim / 8; ++tile) {
        output[tile][2 * half] *= correction;
        output[tile][2 * half + 1] *= correction;
      }
#pragma unroll
      for (int tile = 0; tile < passing / 8; ++tile) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          scores[tile][i] = fast_exp2(scores[tile][i] * to_exponent - largest * to_exponent);
          sum[half] += scores[tile][i];
        }
      }
    }
    multiply<T, passing / 8>(output, scores, v_tiles + at);
  }

  if (first_row >= seq_length) return;
  float factors[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float total = row_reduce(sum[half], Plus());  // of this lane's columns so far
    factors[half] = 1 / total;
    const int row = first_row + lane.row + 8 * half;
    if (lane.col == 0 && row < seq_length) {
      *log_sum_exp.at(std::int64_t{blockIdx.z} * seq_length + row, head) =
          maximum[half] * task.scale + logf(total);
    }
  }
  store_rows<Tiles, T>(output, factors, own_queries, out.head(blockIdx.z, head), first_row);
}

}  // namespace

void SimtKernels::flash_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                                const Matrix& v, const Matrix& out, const Matrix& log_sum_exp) {
  with_head_dim(shape, q.dtype, [&](auto zero, auto padded) {
    using T = decltype(zero);
    constexpr int dim = decltype(padded)::value;
    using Tiles = FlashTiles<T, dim, false>;
    launch(flash_forward_kernel<T, dim>,
           flash_launch<Tiles>(shape, shape.heads, Tiles::tile_bytes), stream_,
           FlashTask{static_cast<int>(group_size(shape)), scale_of(shape)},
           heads_of<const T>(shape, q), heads_of<const T>(shape, k), heads_of<const T>(shape, v),
           heads_of<T>(shape, out), rows<float>(log_sum_exp));
  });
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
