#include <algorithm>

#include "tensor/attention_heads.hpp"
#include "tensor/cpu/cpu_kernels.hpp"
#include "tensor/cpu/elements.hpp"
#include "tensor/cpu/softmax.hpp"

// FlashAttention-2 (Dao 2023, arXiv:2307.08691) for caches. A tile of queries meets one tile of
// keys after another; the tile of scores stays in the second-level cache, is made by a matrix
// product, turned into probabilities by an online softmax, and used up by the next product. Tiles
// above the diagonal are never made, and those that it crosses end with the last key that their
// queries see.
//
// Tiles are low and wide: low, so that little above the diagonal is made in vain; wide, so that
// short sequences need a single tile and no rescaling, and products stay long.
//
// Backward makes scores and probabilities again from log_sum_exp. A thread owns a key/value head of
// a sequence, with all the query heads that share it, and adds to d_k and d_v in a fixed order.

namespace kumihimo::cpu {
namespace {

constexpr std::int64_t query_tile = 64;
constexpr std::int64_t key_tile = 512;
// Every query sees a key of every tile that it meets.
static_assert(key_tile % query_tile == 0);

/// Rows of tiles do not all begin in the same sets of a cache.
constexpr std::int64_t tile_stride = key_tile + 32;

struct Range {
  std::int64_t first, count;
};

Range tile_of(std::int64_t first, std::int64_t size, std::int64_t end) {
  return {first, std::min(size, end - first)};
}

/// Temporaries of one thread.
struct Tile {
  Matrix scores, second_scores;  ///< fp32, query_tile x key_tile
  Matrix narrow, second_narrow;  ///< the same in bf16, to be multiplied; fp32: the same memory
  Matrix sums;                   ///< fp32, query_tile x head_dim
  Matrix statistics;             ///< fp32, 2 x query_tile
};

class Tiles {
 public:
  Tiles(Workspace& workspace, const Team& team, const AttentionShape& shape, DType dtype) {
    const std::int64_t rows = team.threads() * query_tile;
    all_.scores = workspace.take(rows, tile_stride, DType::fp32);
    all_.second_scores = workspace.take(rows, tile_stride, DType::fp32);
    const bool is_narrow = dtype == DType::bf16;
    all_.narrow = is_narrow ? workspace.take(rows, tile_stride, dtype) : all_.scores;
    all_.second_narrow = is_narrow ? workspace.take(rows, tile_stride, dtype) : all_.second_scores;
    all_.sums = workspace.take(rows, shape.head_dim, DType::fp32);
    all_.statistics = workspace.take(team.threads() * 2, query_tile, DType::fp32);
  }

  Tile of_thread(int thread) const {
    const auto part = [&](const Matrix& matrix) {
      return rows_of(matrix, thread * query_tile, query_tile);
    };
    return {part(all_.scores), part(all_.second_scores),
            part(all_.narrow), part(all_.second_narrow),
            part(all_.sums),   rows_of(all_.statistics, 2 * thread, 2)};
  }

 private:
  Tile all_;
};

Matrix corner_of(const Matrix& matrix, std::int64_t rows, std::int64_t cols) {
  return cols_of(rows_of(matrix, 0, rows), 0, cols);
}

Matrix part_of(const Matrix& matrix, const Range& range) {
  return rows_of(matrix, range.first, range.count);
}

/// out and log_sum_exp of one head: [seq_length, head_dim] and [seq_length, 1].
void forward_of_head(SerialProducts& products, const Tile& tile, float scale, const Matrix& q,
                     const Matrix& k, const Matrix& v, const Matrix& out,
                     const Matrix& log_sum_exp) {
  const RunningSoftmax running{static_cast<float*>(tile.statistics.data),
                               static_cast<float*>(tile.statistics.data) + query_tile};
  for (std::int64_t first = 0; first < q.rows; first += query_tile) {
    const Range queries = tile_of(first, query_tile, q.rows);
    const Matrix q_tile = part_of(q, queries);
    const Matrix out_tile = part_of(out, queries);
    // fp32 sums where the result will be.
    const Matrix sums = out.dtype == DType::fp32 ? out_tile : rows_of(tile.sums, 0, queries.count);
    const std::int64_t end = first + queries.count;
    for (std::int64_t key = 0; key < end; key += key_tile) {
      const Range keys = tile_of(key, key_tile, end);
      const Matrix scores = corner_of(tile.scores, queries.count, keys.count);
      const Matrix exponentials = corner_of(tile.narrow, queries.count, keys.count);
      products.multiply(q_tile, Transpose::no, part_of(k, keys), Transpose::yes, scores,
                        Accumulate::no);
      online_softmax(scores, scale, first + 1 - key, key == 0, running, sums, exponentials);
      products.multiply(exponentials, Transpose::no, part_of(v, keys), Transpose::no, sums,
                        key == 0 ? Accumulate::no : Accumulate::yes);
    }
    finish_softmax(sums, running, out_tile, part_of(log_sum_exp, queries));
  }
}

/// d_q of one query head; d_k_sum and d_v_sum, fp32, accumulated.
void backward_of_head(SerialProducts& products, const Tile& tile, float scale, const Matrix& q,
                      const Matrix& k, const Matrix& v, const Matrix& out,
                      const Matrix& log_sum_exp, const Matrix& d_out, const Matrix& d_q,
                      const Matrix& d_k_sum, const Matrix& d_v_sum) {
  auto* const means = static_cast<float*>(tile.statistics.data);
  for (std::int64_t first = 0; first < q.rows; first += query_tile) {
    const Range queries = tile_of(first, query_tile, q.rows);
    const Matrix q_tile = part_of(q, queries), d_out_tile = part_of(d_out, queries);
    const Matrix d_q_tile = part_of(d_q, queries);
    const Matrix sums = d_q.dtype == DType::fp32 ? d_q_tile : rows_of(tile.sums, 0, queries.count);
    // The sum over keys of p d_p, without the keys.
    row_dots(d_out_tile, part_of(out, queries), means);
    const std::int64_t end = first + queries.count;
    for (std::int64_t key = 0; key < end; key += key_tile) {
      const Range keys = tile_of(key, key_tile, end);
      const auto corner = [&](const Matrix& matrix) {
        return corner_of(matrix, queries.count, keys.count);
      };
      const Matrix scores = corner(tile.scores), d_probabilities = corner(tile.second_scores);
      const Matrix probabilities = corner(tile.narrow), d_scores = corner(tile.second_narrow);
      products.multiply(q_tile, Transpose::no, part_of(k, keys), Transpose::yes, scores,
                        Accumulate::no);
      products.multiply(d_out_tile, Transpose::no, part_of(v, keys), Transpose::yes,
                        d_probabilities, Accumulate::no);
      softmax_from_log_sum(scores, scale, first + 1 - key, part_of(log_sum_exp, queries), means,
                           d_probabilities, probabilities, d_scores);
      products.multiply(probabilities, Transpose::yes, d_out_tile, Transpose::no,
                        part_of(d_v_sum, keys), Accumulate::yes);
      products.multiply(d_scores, Transpose::yes, q_tile, Transpose::no, part_of(d_k_sum, keys),
                        Accumulate::yes);
      products.multiply(d_scores, Transpose::no, part_of(k, keys), Transpose::no, sums,
                        key == 0 ? Accumulate::no : Accumulate::yes);
    }
    if (sums.data != d_q_tile.data) copy(Team(1), sums, d_q_tile);
  }
}

}  // namespace

void CpuKernels::flash_forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                               const Matrix& v, const Matrix& out, const Matrix& log_sum_exp) {
  const Workspace::Scope scope(workspace_);
  const Tiles tiles(workspace_, team_, shape, q.dtype);
  const OneThread one_thread;
  team_.for_each(shape.sequences * shape.heads, [&](std::int64_t piece, int thread) {
    const std::int64_t sequence = piece / shape.heads, head = piece % shape.heads;
    const std::int64_t kv_head = head / group_size(shape);
    forward_of_head(products_.of_thread(thread), tiles.of_thread(thread), scale_of(shape),
                    head_of(shape, q, sequence, head), head_of(shape, k, sequence, kv_head),
                    head_of(shape, v, sequence, kv_head), head_of(shape, out, sequence, head),
                    log_sums_of(shape, log_sum_exp, sequence, head));
  });
}

void CpuKernels::flash_backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                                const Matrix& v, const Matrix& out, const Matrix& log_sum_exp,
                                const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                                const Matrix& d_v) {
  const Workspace::Scope scope(workspace_);
  const Tiles tiles(workspace_, team_, shape, q.dtype);
  // fp32 is summed in place; bf16 is rounded when its sum is complete.
  Matrix all_d_k_sums, all_d_v_sums;
  if (q.dtype == DType::bf16) {
    const std::int64_t rows = team_.threads() * shape.seq_length;
    all_d_k_sums = workspace_.take(rows, shape.head_dim, DType::fp32);
    all_d_v_sums = workspace_.take(rows, shape.head_dim, DType::fp32);
  }
  const OneThread one_thread;
  team_.for_each(shape.sequences * shape.kv_heads, [&](std::int64_t piece, int thread) {
    const Team alone(1);
    const std::int64_t sequence = piece / shape.kv_heads, kv_head = piece % shape.kv_heads;
    const Matrix d_k_head = head_of(shape, d_k, sequence, kv_head);
    const Matrix d_v_head = head_of(shape, d_v, sequence, kv_head);
    const auto sum_of = [&](const Matrix& sums, const Matrix& in_place) {
      return sums.empty() ? in_place : rows_of(sums, thread * shape.seq_length, shape.seq_length);
    };
    const Matrix d_k_sum = sum_of(all_d_k_sums, d_k_head);
    const Matrix d_v_sum = sum_of(all_d_v_sums, d_v_head);
    cpu::fill(alone, d_k_sum, 0);
    cpu::fill(alone, d_v_sum, 0);
    for (std::int64_t member = 0; member < group_size(shape); ++member) {
      const std::int64_t head = kv_head * group_size(shape) + member;
      backward_of_head(products_.of_thread(thread), tiles.of_thread(thread), scale_of(shape),
                       head_of(shape, q, sequence, head), head_of(shape, k, sequence, kv_head),
                       head_of(shape, v, sequence, kv_head), head_of(shape, out, sequence, head),
                       log_sums_of(shape, log_sum_exp, sequence, head),
                       head_of(shape, d_out, sequence, head), head_of(shape, d_q, sequence, head),
                       d_k_sum, d_v_sum);
    }
    if (q.dtype == DType::bf16) {
      cpu::copy(alone, d_k_sum, d_k_head);
      cpu::copy(alone, d_v_sum, d_v_head);
    }
  });
}

}  // namespace kumihimo::cpu
