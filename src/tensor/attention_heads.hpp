#pragma once

#include <cmath>
#include <cstdint>

#include "base/check.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo {

// What every back end's attention needs to know of an AttentionShape.

inline float scale_of(const AttentionShape& shape) {
  return static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_dim)));
}

inline std::int64_t group_size(const AttentionShape& shape) { return shape.heads / shape.kv_heads; }

/// One head of one sequence: [seq_length, head_dim].
inline Matrix head_of(const AttentionShape& shape, const Matrix& matrix, std::int64_t sequence,
                      std::int64_t head) {
  return cols_of(rows_of(matrix, sequence * shape.seq_length, shape.seq_length),
                 head * shape.head_dim, shape.head_dim);
}

/// Scores, or probabilities, of one head of one sequence: [seq_length, seq_length].
inline Matrix scores_of(const AttentionShape& shape, const Matrix& matrix, std::int64_t sequence,
                        std::int64_t head) {
  return rows_of(matrix, (sequence * shape.heads + head) * shape.seq_length, shape.seq_length);
}

/// The column of one head of one sequence: [seq_length, 1].
inline Matrix log_sums_of(const AttentionShape& shape, const Matrix& log_sum_exp,
                          std::int64_t sequence, std::int64_t head) {
  return cols_of(rows_of(log_sum_exp, sequence * shape.seq_length, shape.seq_length), head, 1);
}

/// Of queries, keys and values, or of their gradients.
inline void check_attention(const AttentionShape& shape, const Matrix& like_q, const Matrix& like_k,
                            const Matrix& like_v, const AttentionSaved& saved) {
  const std::int64_t tokens = shape.sequences * shape.seq_length;
  const std::int64_t kv_width = shape.kv_heads * shape.head_dim;
  KUMIHIMO_CHECK(like_q.dtype == DType::fp32 || like_q.dtype == DType::bf16);
  KUMIHIMO_CHECK(like_k.dtype == like_q.dtype && like_v.dtype == like_q.dtype);
  KUMIHIMO_CHECK(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0);
  KUMIHIMO_CHECK(has_shape(like_q, tokens, shape.heads * shape.head_dim));
  KUMIHIMO_CHECK(has_shape(like_k, tokens, kv_width) && has_shape(like_v, tokens, kv_width));
  if (is_flash(shape.kernel)) {
    KUMIHIMO_CHECK(has_shape(saved.log_sum_exp, tokens, shape.heads));
    KUMIHIMO_CHECK(saved.log_sum_exp.dtype == DType::fp32);
  } else {
    KUMIHIMO_CHECK(has_shape(saved.probabilities, tokens * shape.heads, shape.seq_length));
    KUMIHIMO_CHECK(saved.probabilities.dtype == like_q.dtype);
  }
}

}  // namespace kumihimo
