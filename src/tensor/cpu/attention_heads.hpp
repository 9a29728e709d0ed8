#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/kernels.hpp"

namespace kumihimo::cpu {

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

/// The column of one head of one sequence: [seq_length, 1].
inline Matrix log_sums_of(const AttentionShape& shape, const Matrix& log_sum_exp,
                          std::int64_t sequence, std::int64_t head) {
  return cols_of(rows_of(log_sum_exp, sequence * shape.seq_length, shape.seq_length), head, 1);
}

}  // namespace kumihimo::cpu
