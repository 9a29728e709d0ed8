#pragma once

#include <cstdint>

#include "engine/training_options.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo {

/// The share of every layer that this rank computes for one micro-batch. Residuals and norms are
/// [norm_tokens, hidden], the inside of attention and MLP [tokens, ...].
struct ShardShape {
  std::int64_t sequences = 0;  ///< of a micro-batch
  std::int64_t seq_length = 0;
  std::int64_t tokens = 0;       ///< sequences x seq_length
  std::int64_t norm_tokens = 0;  ///< tokens, or this rank's share of them (sequence parallel)
  std::int64_t hidden = 0;
  std::int64_t heads = 0;     ///< of this rank
  std::int64_t kv_heads = 0;  ///< of this rank
  std::int64_t head_dim = 0;
  std::int64_t ffn_hidden = 0;   ///< of this rank
  std::int64_t vocab_rows = 0;   ///< of this rank, padding included
  std::int64_t vocab_first = 0;  ///< the first of them
  std::int64_t vocab_valid = 0;  ///< without padding
  int tensor_parallel = 1;
  int tensor_rank = 0;
  bool sequence_parallel = false;
  DType dtype = DType::fp32;  ///< of activations and weights
  NormKinds norm;
  AttentionKernel attention = AttentionKernel::flash2;
  Activation activation = Activation::swiglu;
  Positions positions = Positions::rotary;
  Recompute recompute = Recompute::none;

  std::int64_t query_width() const { return heads * head_dim; }
  std::int64_t qkv_width() const { return (heads + 2 * kv_heads) * head_dim; }
  std::int64_t up_width() const {
    return activation == Activation::swiglu ? 2 * ffn_hidden : ffn_hidden;
  }
  AttentionShape attention_shape() const {
    return {sequences, seq_length, heads, kv_heads, head_dim, attention};
  }
};

/// Requires options without faults.
ShardShape shard_shape(const TrainingOptions& options, int tensor_rank);

}  // namespace kumihimo
