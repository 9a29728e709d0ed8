#pragma once

#include "support/matrices.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo::testing {

/// Memory for what a norm of x [tokens, hidden] keeps: exactly what its kernel may use.
class NormMemory {
 public:
  NormMemory(const NormKinds& norm, std::int64_t tokens, std::int64_t hidden,
             DType dtype = DType::fp32)
      : inverse_deviation(tokens, 1) {
    if (norm.kind == NormKind::layer_norm) mean = HostMatrix(tokens, 1);
    if (norm.kernel == NormKernel::unfused) {
      widened = HostMatrix(tokens, hidden);
      normalised = HostMatrix(tokens, hidden, dtype);
    }
  }
  NormSaved saved() const {
    const auto view = [](const HostMatrix& matrix) {
      return matrix.rows() > 0 ? matrix.view() : Matrix{};
    };
    return {inverse_deviation, view(mean), view(widened), view(normalised)};
  }

  HostMatrix inverse_deviation, mean, widened, normalised;
};

/// Memory for what attention keeps.
class AttentionMemory {
 public:
  explicit AttentionMemory(const AttentionShape& shape, DType dtype = DType::fp32)
      : flash_(is_flash(shape.kernel)) {
    const std::int64_t tokens = shape.sequences * shape.seq_length;
    if (flash_) {
      log_sum_exp = HostMatrix(tokens, shape.heads);
    } else {
      probabilities = HostMatrix(tokens * shape.heads, shape.seq_length, dtype);
    }
  }
  AttentionSaved saved() const {
    return flash_ ? AttentionSaved{{}, log_sum_exp} : AttentionSaved{probabilities, {}};
  }

  HostMatrix probabilities, log_sum_exp;

 private:
  bool flash_;
};

inline constexpr AttentionKernel all_attention_kernels[] = {
    AttentionKernel::unfused, AttentionKernel::fused_softmax, AttentionKernel::flash1,
    AttentionKernel::flash2, AttentionKernel::flash3};

}  // namespace kumihimo::testing
