#pragma once

#include <cstdint>

#include "model/kernels.hpp"
#include "model/transformer.hpp"

namespace kumihimo {

/// Trained parameters by place, for the whole model and the vocabulary as stated (no padding).
struct ParameterCount {
  std::int64_t embedding = 0;            ///< vocab x hidden
  std::int64_t positions = 0;            ///< the learned position table; 0 otherwise
  std::int64_t per_layer_attention = 0;  ///< projections with their biases
  std::int64_t per_layer_mlp = 0;
  std::int64_t per_layer_norms = 0;  ///< both norms of a layer, and those of queries and keys
  std::int64_t final_norm = 0;
  std::int64_t head = 0;  ///< 0 when tied: the matrix is counted as embedding

  std::int64_t per_layer() const { return per_layer_attention + per_layer_mlp + per_layer_norms; }
  std::int64_t total(std::int64_t layers) const {
    return embedding + positions + layers * per_layer() + final_norm + head;
  }
};

/// Requires a shape that validate accepts (no product then overflows).
ParameterCount count_parameters(const TransformerShape& shape);

/// full: scores of every pair of tokens, the convention of the PaLM paper and of published MFU
/// figures until 2025. causal: half of them, as newer frameworks print. Comparing figures of the
/// two kinds is a mistake: say which beside each.
enum class AttentionCount { full, causal };

/// Model FLOPs per trained token, forward and backward, without recompute:
/// 6 N + 12 L (heads x head_dim) s, or 6 L (heads x head_dim) s when causal. N counts each matrix
/// once as stored: embedding and untied head both, a tied head not again.
/// Source: Chowdhery et al. 2022, arXiv:2204.02311, appendix B.
double model_flops_per_token(const TransformerShape& shape, std::int64_t seq_length,
                             AttentionCount attention);

/// What recomputation adds to them, in the full attention count: every layer's forward pass, or the
/// attention core's. `head`: of a framework whose full recomputation plays the head's product again
/// too.
double recomputed_flops_per_token(const TransformerShape& shape, std::int64_t seq_length,
                                  Recompute recompute, bool head);

}  // namespace kumihimo
