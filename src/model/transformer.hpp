#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace kumihimo {

enum class NormKind { rms_norm, layer_norm };
enum class Activation { swiglu, gelu };  ///< swiglu: gate and up projections; gelu: one projection
enum class Positions { rotary, learned, alibi, none };

/// The shape of a decoder-only transformer: everything that decides its counts, nothing else.
/// A plain value; read_huggingface_config makes a valid one.
struct TransformerShape {
  std::string name;
  std::int64_t layers = 0;
  std::int64_t hidden = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;  ///< divides heads (grouped-query attention)
  std::int64_t head_dim = 0;  ///< need not be hidden / heads
  std::int64_t ffn_hidden = 0;
  std::int64_t vocab = 0;
  std::int64_t max_positions = 0;  ///< rows of the learned position table; a limit otherwise
  bool tied_embeddings = false;    ///< head shares the embedding matrix
  bool qkv_bias = false;
  bool output_bias = false;  ///< bias of the attention output projection
  bool mlp_bias = false;
  bool qk_norm = false;  ///< Qwen3: a norm over head_dim for queries and keys
  bool dropout = false;  ///< trained with dropout (masks are kept for backward)
  NormKind norm = NormKind::rms_norm;
  bool norm_bias = false;  ///< LayerNorm with bias
  Activation activation = Activation::swiglu;
  Positions positions = Positions::rotary;
  double norm_epsilon = 1e-5;
  double rope_theta = 10000.0;

  bool operator==(const TransformerShape&) const = default;
};

}  // namespace kumihimo
