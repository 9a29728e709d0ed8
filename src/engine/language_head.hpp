#pragma once

#include "engine/parameter_units.hpp"
#include "engine/shard_shape.hpp"
#include "engine/tensor_parallel.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo {

/// Final norm, head and cross-entropy, with the vocabulary split over the tensor-parallel ranks.
/// Forward and backward are one call: logits, the largest tensor of a step, become their own
/// gradient in place and are gone when it returns, whatever the schedule holds in flight.
class LanguageHead {
 public:
  /// `loss_scale`: 1 / tokens of the global batch; losses are means over it.
  LanguageHead(const ShardShape& shape, Kernels& kernels, Workspace& workspace,
               const TensorParallel& tensor_parallel, float loss_scale);

  struct Weights {
    NormParameters norm;
    Matrix head;  ///< [vocab_rows, hidden]
  };
  /// fp32. `product`: whether the head's is added to, or overwritten; the norm's is added to.
  struct Gradients : Weights {
    Accumulate product = Accumulate::yes;
  };

  /// x: [norm_tokens, hidden]; targets: int32 [tokens, 1]. Adds the sum of the tokens' losses to
  /// loss_sum (fp64 [1, 1], the same on all tensor-parallel ranks), sums the gradients of the
  /// weights, and writes d_x.
  void run(const Matrix& x, const Matrix& targets, const Weights& weights,
           const Gradients& gradients, const Matrix& d_x, const Matrix& loss_sum) const;

 private:
  NormSaved norm_saved() const;
  Matrix log_sum_exp(const Matrix& logits, const Matrix& targets, const Matrix& loss_sum) const;

  const ShardShape& shape_;
  Kernels& kernels_;
  Workspace& workspace_;
  const TensorParallel& tensor_;
  float loss_scale_;
};

}  // namespace kumihimo
