#pragma once

#include <memory>
#include <string>

#include "tensor/cuda/cuda_queue.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo::cuda {

/// A library's causal attention that never stores the scores.
class FusedAttention {
 public:
  virtual ~FusedAttention() = default;

  /// Whether both passes of this shape can be had with these strides; what it says does not change.
  /// The caller asks before forward and before backward, and must do both here or both elsewhere:
  /// log_sum_exp has an order of its own.
  virtual bool supports(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                        const Matrix& v) = 0;
  virtual void forward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                       const Matrix& v, const Matrix& out, const Matrix& log_sum_exp,
                       Workspace& workspace) = 0;
  virtual void backward(const AttentionShape& shape, const Matrix& q, const Matrix& k,
                        const Matrix& v, const Matrix& out, const Matrix& log_sum_exp,
                        const Matrix& d_out, const Matrix& d_q, const Matrix& d_k,
                        const Matrix& d_v, Workspace& workspace) = 0;
  /// "cuDNN 9.19".
  virtual std::string description() const = 0;
};

/// Null where the back end was built without the library.
std::unique_ptr<FusedAttention> make_fused_attention(std::shared_ptr<CudaQueue> queue);
/// "9.19.0", or empty.
std::string fused_attention_version();

}  // namespace kumihimo::cuda
