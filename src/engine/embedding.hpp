#pragma once

#include "engine/shard_shape.hpp"
#include "engine/tensor_parallel.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo {

/// The look-up of token vectors, with rows of the table split over the tensor-parallel ranks, and
/// learned positions where the model has them.
class Embedding {
 public:
  Embedding(const ShardShape& shape, Kernels& kernels, Workspace& workspace,
            const TensorParallel& tensor_parallel)
      : shape_(shape), kernels_(kernels), workspace_(workspace), tensor_(tensor_parallel) {}

  /// tokens: int32 [tokens, 1]; positions may be empty; output: [norm_tokens, hidden].
  void forward(const Matrix& tokens, const Matrix& table, const Matrix& positions,
               const Matrix& output) const {
    const Workspace::Scope scope(workspace_);
    if (shape_.tensor_parallel == 1) {
      kernels_.embedding_forward(tokens, table, 0, output);
    } else {
      // One rank has the row of a token, the others zeros: the sum is exact.
      const Matrix partial = workspace_.take(shape_.tokens, shape_.hidden, shape_.dtype);
      kernels_.embedding_forward(tokens, table, shape_.vocab_first, partial);
      kernels_.copy(tensor_.reduced(partial), output);
    }
    if (!positions.empty()) {
      kernels_.add_positions(output, positions, first_token(), shape_.seq_length);
    }
  }

  void backward(const Matrix& tokens, const Matrix& d_output, const Matrix& d_table,
                const Matrix& d_positions) const {
    const Workspace::Scope scope(workspace_);
    if (!d_positions.empty()) {
      kernels_.positions_backward(d_output, first_token(), shape_.seq_length, d_positions);
    }
    kernels_.embedding_backward(tokens, tensor_.gathered(d_output), shape_.vocab_first, d_table);
  }

 private:
  /// Of those whose residuals this rank holds.
  std::int64_t first_token() const {
    return shape_.sequence_parallel ? shape_.tensor_rank * shape_.norm_tokens : 0;
  }

  const ShardShape& shape_;
  Kernels& kernels_;
  Workspace& workspace_;
  const TensorParallel& tensor_;
};

}  // namespace kumihimo
