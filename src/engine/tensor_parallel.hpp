#pragma once

#include "comm/process_group.hpp"
#include "engine/shard_shape.hpp"
#include "tensor/device_memory.hpp"

namespace kumihimo {

/// How a layer's residual stream enters and leaves the region in which every tensor-parallel rank
/// computes its own columns or heads (Shoeybi et al. 2019, arXiv:1909.08053; with sequence
/// parallelism Korthikanti et al. 2022, arXiv:2205.05198).
class TensorParallel {
 public:
  TensorParallel(const ShardShape& shape, ProcessGroup& group, Workspace& workspace)
      : shape_(shape), group_(group), workspace_(workspace) {}

  /// [norm_tokens, n] of this rank -> [tokens, n] of all. Without sequence parallelism every rank
  /// has all tokens: x itself. Else a temporary of the workspace.
  Matrix gathered(const Matrix& x) const {
    if (!shape_.sequence_parallel) return x;
    const Matrix whole = workspace_.take(x.rows * group_.size(), x.cols, x.dtype);
    group_.all_gather(x, whole);
    return whole;
  }

  /// Sums [tokens, n] over the ranks, in its own memory. Returns this rank's [norm_tokens, n] of
  /// the sum: under sequence parallelism its own rows, else all.
  Matrix reduced(const Matrix& partial) const {
    if (group_.size() == 1) return partial;
    if (!shape_.sequence_parallel) {
      group_.all_reduce(partial);
      return partial;
    }
    const std::int64_t rows = partial.rows / group_.size();
    const Matrix own = rows_of(partial, group_.rank() * rows, rows);
    group_.reduce_scatter(partial, own);
    return own;
  }

  ProcessGroup& group() const { return group_; }

 private:
  const ShardShape& shape_;
  ProcessGroup& group_;
  Workspace& workspace_;
};

}  // namespace kumihimo
