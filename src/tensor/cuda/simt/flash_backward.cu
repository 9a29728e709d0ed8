#include <algorithm>

#include "tensor/cuda/simt/flash_tiles.hpp"
#include "tensor/cuda/simt_kernels.hpp"

// FlashAttention-2 (Dao 2023, arXiv:2307.08691), backward. With p computed again from log_sum_exp,
//   d_p_ij = d_out_i.v_j      d_score_ij = p_ij (d_p_ij - d_out_i.out_i)
//   d_q_i = scale sum_j d_score_ij k_j
//   d_k_j = scale sum_i d_score_ij q_i      d_v_j = sum_i p_ij d_out_i
// in two kernels: d_q with queries held and keys passing by, d_k and d_v with keys held and the
// queries of all heads of their group passing by. Each gradient is summed in one place and one
// order, at the price of computing p and d_p twice: 7 products where one kernel with atomics has 5.

namespace KUMIHIMO_CUDA_NAMESPACE {
namespace {

constexpr int dots_per_block = 8;

/// dots[token, head] = the dot product of d_out and out. A warp for each.
template <int width, class T>
__global__ void __launch_bounds__(32 * dots_per_block)
    output_dots_kernel(std::int64_t tokens, std::int64_t heads, std::int64_t head_dim,
                       Rows<const T> out, Rows<const T> d_out, Rows<float> dots) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t number = std::int64_t{blockIdx.x} * dots_per_block + threadIdx.x / 32;
  if (number >= tokens * heads) return;  // with its warp
  const std::int64_t token = number / heads, head = number % heads;
  float sum = 0;
  for (std::int64_t col = lane * width; col < head_dim; col += 32 * width) {
    const std::int64_t count = head_dim - col;
    const Floats<width> a = load<width>(out.at(token, head * head_dim + col), count);
    const Floats<width> b = load<width>(d_out.at(token, head * head_dim + col), count);
#pragma unroll
    for (int i = 0; i < width; ++i) sum += a.values[i] * b.values[i];
  }
  sum = warp_reduce(sum, Plus());
  if (lane == 0) *dots.at(token, head) = sum;
}

template <class T, int dim>
__global__ void __launch_bounds__(FlashTiles<T, dim, true>::threads,
                                  FlashTiles<T, dim, true>::blocks)
    flash_query_gradient_kernel(FlashTask task, Heads<const T> q, Heads<const T> k,
                                Heads<const T> v, Heads<const T> d_out, Rows<const float> log_sums,
                                Rows<const float> dots, Heads<T> d_q) {
  using Tiles = FlashTiles<T, dim, true>;
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
  const auto d_out_tile = shared.take<T>(Tiles::held_elements);
  const auto k_tiles = shared.take<T>(2 * Tiles::passing_elements);
  const auto v_tiles = shared.take<T>(2 * Tiles::passing_elements);
  const auto own_queries = q_tile + 16 * warp * Tiles::stride;
  const auto own_d_out = d_out_tile + 16 * warp * Tiles::stride;
  const auto load_stage = [&](int number) {
    const int at = number % 2 * Tiles::passing_elements;
    load_tile<Tiles, passing, T>(k_tiles + at, k_head, number * passing);
    load_tile<Tiles, passing, T>(v_tiles + at, v_head, number * passing);
    commit_copies();
  };
  load_tile<Tiles, Tiles::rows, T>(q_tile, q_head, first_query);
  load_tile<Tiles, Tiles::rows, T>(d_out_tile, d_out.head(blockIdx.z, head), first_query);
  load_stage(0);

  const float to_exponent = task.scale * log2_of_e;
  float log_sum[2] = {0, 0}, dot[2] = {0, 0};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + lane.row + 8 * half;
    if (row >= seq_length) continue;
    const std::int64_t token = std::int64_t{blockIdx.z} * seq_length + row;
    log_sum[half] = *log_sums.at(token, head) * log2_of_e;
    dot[half] = *dots.at(token, head);
  }

  float gradient[dim / 8][4] = {};
  const int last_query = first_query + q_head.valid_rows(first_query, Tiles::rows) - 1;
  const int stages = last_query / passing + 1;
  for (int number = 0; number < stages; ++number) {
    wait_for_copies<0>();
    __syncthreads();  // this stage is loaded, and the other one has been used
    if (number + 1 < stages) load_stage(number + 1);
    const int first_key = number * passing;
    if (first_key > first_row + 15 || first_row >= seq_length) continue;
    const int at = number % 2 * Tiles::passing_elements;

    float scores[passing / 8][4] = {}, d_scores[passing / 8][4] = {};
    multiply_by_transposed<dim, passing / 8, T>(scores, own_queries, k_tiles + at);
    multiply_by_transposed<dim, passing / 8, T>(d_scores, own_d_out, v_tiles + at);
#pragma unroll
    for (int tile = 0; tile < passing / 8; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int key = first_key + 8 * tile + lane.col + i % 2;
        const bool visible = key <= first_row + lane.row + i / 2 * 8;
        const float p = fast_exp2(scores[tile][i] * to_exponent - log_sum[i / 2]);
        d_scores[tile][i] = visible ? p * (d_scores[tile][i] - dot[i / 2]) : 0.0f;
      }
    }
    multiply<T, passing / 8>(gradient, d_scores, k_tiles + at);
  }
  if (first_row >= seq_length) return;
  const float factors[2] = {task.scale, task.scale};
  store_rows<Tiles, T>(gradient, factors, own_queries, d_q.head(blockIdx.z, head), first_row);
}

/// Here scores are transposed, a row for each key, so that they are left operands as they are.
template <class T, int dim>
__global__ void __launch_bounds__(FlashTiles<T, dim, true>::threads,
                                  FlashTiles<T, dim, true>::blocks)
    flash_key_gradient_kernel(FlashTask task, Heads<const T> q, Heads<const T> k, Heads<const T> v,
                              Heads<const T> d_out, Rows<const float> log_sums,
                              Rows<const float> dots, Heads<T> d_k, Heads<T> d_v) {
  using Tiles = FlashTiles<T, dim, true>;
  constexpr int passing = Tiles::passing;
  const Lane lane;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int kv_head = static_cast<int>(blockIdx.y);
  const int seq_length = q.seq_length;
  const int first_key = static_cast<int>(blockIdx.x) * Tiles::rows;  // the first sees most queries
  const int first_row = first_key + 16 * warp;

  SharedMemory shared;
  const auto k_tile = shared.take<T>(Tiles::held_elements);
  const auto v_tile = shared.take<T>(Tiles::held_elements);
  const auto q_tiles = shared.take<T>(2 * Tiles::passing_elements);
  const auto d_out_tiles = shared.take<T>(2 * Tiles::passing_elements);
  const auto log_sum_tiles = shared.take<float>(2 * passing);
  const auto dot_tiles = shared.take<float>(2 * passing);
  const auto own_keys = k_tile + 16 * warp * Tiles::stride;
  const auto own_values = v_tile + 16 * warp * Tiles::stride;

  // All query tiles that see any of the keys, for one head of the group after the other.
  const int first_tile = first_key / passing;
  const int tiles_each = (seq_length + passing - 1) / passing - first_tile;
  const int stages = task.group * tiles_each;
  const auto first_query_of = [&](int number) {
    return (first_tile + number % tiles_each) * passing;
  };
  const auto load_stage = [&](int number) {
    const int stage = number % 2;
    const int head = kv_head * task.group + number / tiles_each;
    const int first_query = first_query_of(number);
    const auto q_head = q.head(blockIdx.z, head);
    load_tile<Tiles, passing, T>(q_tiles + stage * Tiles::passing_elements, q_head, first_query);
    load_tile<Tiles, passing, T>(d_out_tiles + stage * Tiles::passing_elements,
                                 d_out.head(blockIdx.z, head), first_query);
    // Beyond the sequence, zeros: with q and d_out zero too, they add nothing.
    for (int i = static_cast<int>(threadIdx.x); i < passing; i += Tiles::threads) {
      const bool valid = first_query + i < seq_length;
      const std::int64_t token = std::int64_t{blockIdx.z} * seq_length + first_query + i;
      copy_async<4>(log_sum_tiles + (stage * passing + i),
                    valid ? log_sums.at(token, head) : log_sums.data, valid);
      copy_async<4>(dot_tiles + (stage * passing + i), valid ? dots.at(token, head) : dots.data,
                    valid);
    }
    commit_copies();
  };
  load_tile<Tiles, Tiles::rows, T>(k_tile, k.head(blockIdx.z, kv_head), first_key);
  load_tile<Tiles, Tiles::rows, T>(v_tile, v.head(blockIdx.z, kv_head), first_key);
  load_stage(0);

  const float to_exponent = task.scale * log2_of_e;
  float key_gradient[dim / 8][4] = {}, value_gradient[dim / 8][4] = {};
  for (int number = 0; number < stages; ++number) {
    wait_for_copies<0>();
    __syncthreads();  // this stage is loaded, and the other one has been used
    if (number + 1 < stages) load_stage(number + 1);
    const int first_query = first_query_of(number);
    if (first_query + passing <= first_row || first_row >= seq_length) continue;
    const int stage = number % 2;
    const int at = stage * Tiles::passing_elements;

    float scores[passing / 8][4] = {}, d_scores[passing / 8][4] = {};
    multiply_by_transposed<dim, passing / 8, T>(scores, own_keys, q_tiles + at);
    multiply_by_transposed<dim, passing / 8, T>(d_scores, own_values, d_out_tiles + at);
#pragma unroll
    for (int tile = 0; tile < passing / 8; ++tile) {
      const auto log_sum = load_vector<2>(log_sum_tiles + (stage * passing + 8 * tile + lane.col));
      const auto dot = load_vector<2>(dot_tiles + (stage * passing + 8 * tile + lane.col));
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int query = first_query + 8 * tile + lane.col + i % 2;
        const bool visible = first_row + lane.row + i / 2 * 8 <= query;
        const float exponent = scores[tile][i] * to_exponent - log_sum.elements[i % 2] * log2_of_e;
        scores[tile][i] = visible ? fast_exp2(exponent) : 0.0f;
        d_scores[tile][i] = scores[tile][i] * (d_scores[tile][i] - dot.elements[i % 2]);
      }
    }
    multiply<T, passing / 8>(value_gradient, scores, d_out_tiles + at);
    multiply<T, passing / 8>(key_gradient, d_scores, q_tiles + at);
  }
  if (first_row >= seq_length) return;
  const float scales[2] = {task.scale, task.scale}, ones[2] = {1, 1};
  store_rows<Tiles, T>(key_gradient, scales, own_keys, d_k.head(blockIdx.z, kv_head), first_row);
  store_rows<Tiles, T>(value_gradient, ones, own_values, d_v.head(blockIdx.z, kv_head), first_row);
}

}  // namespace

int largest_flash_head(DType dtype, Bytes block_bytes) {
  int largest = 0;
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto consider = [&](auto padded) {
      constexpr int dim = decltype(padded)::value;
      using Backward = FlashTiles<T, dim, true>;
      constexpr Bytes needed = std::max(FlashTiles<T, dim, false>::tile_bytes,
                                        Backward::tile_bytes + Backward::row_bytes);
      if (needed <= block_bytes) largest = std::max(largest, dim);
    };
    consider(std::integral_constant<int, 32>());
    consider(std::integral_constant<int, 64>());
    consider(std::integral_constant<int, largest_head>());
  });
  return largest;
}

void SimtKernels::flash_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                                 const Matrix& v, const Matrix& out, const Matrix& log_sum_exp,
                                 const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                                 const Matrix& d_v) {
  const Workspace::Scope scope(workspace_);
  const Matrix dots = workspace_.take(q.rows, shape.heads, DType::fp32);
  with_head_dim(shape, q.dtype, [&](auto zero, auto padded) {
    using T = decltype(zero);
    // Heads begin at multiples of their width.
    const Matrix first_head = cols_of(d_out, shape.head_dim % 4, 0);
    with_width<4>(
        [&](auto chosen) {
          launch(output_dots_kernel<decltype(chosen)::value, T>,
                 {{blocks(pieces_of(q.rows * shape.heads, dots_per_block))}, 32 * dots_per_block},
                 stream_, q.rows, shape.heads, shape.head_dim, rows<const T>(out),
                 rows<const T>(d_out), rows<float>(dots));
        },
        out, d_out, first_head);

    constexpr int dim = decltype(padded)::value;
    using Tiles = FlashTiles<T, dim, true>;
    const FlashTask task{static_cast<int>(group_size(shape)), scale_of(shape)};
    launch(flash_query_gradient_kernel<T, dim>, flash_launch<Tiles>(shape, shape.heads, Tiles::tile_bytes),
           stream_, task, heads_of<const T>(shape, q), heads_of<const T>(shape, k),
           heads_of<const T>(shape, v), heads_of<const T>(shape, d_out),
           rows<const float>(log_sum_exp), rows<const float>(dots), heads_of<T>(shape, d_q));
    launch(flash_key_gradient_kernel<T, dim>,
           flash_launch<Tiles>(shape, shape.kv_heads, Tiles::tile_bytes + Tiles::row_bytes), stream_, task,
           heads_of<const T>(shape, q), heads_of<const T>(shape, k), heads_of<const T>(shape, v),
           heads_of<const T>(shape, d_out), rows<const float>(log_sum_exp), rows<const float>(dots),
           heads_of<T>(shape, d_k), heads_of<T>(shape, d_v));
  });
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
