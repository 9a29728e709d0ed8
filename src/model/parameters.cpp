#include "model/parameters.hpp"

namespace kumihimo {

ParameterCount count_parameters(const TransformerShape& shape) {
  const std::int64_t hidden = shape.hidden;
  const std::int64_t query_width = shape.heads * shape.head_dim;
  const std::int64_t qkv_width = query_width + 2 * shape.kv_heads * shape.head_dim;
  const std::int64_t norm = shape.norm_bias ? 2 * hidden : hidden;
  const std::int64_t up_width =
      shape.activation == Activation::swiglu ? 2 * shape.ffn_hidden : shape.ffn_hidden;

  ParameterCount count;
  count.embedding = shape.vocab * hidden;
  count.positions = shape.positions == Positions::learned ? shape.max_positions * hidden : 0;
  count.per_layer_attention = hidden * qkv_width + query_width * hidden;
  if (shape.qkv_bias) count.per_layer_attention += qkv_width;
  if (shape.output_bias) count.per_layer_attention += hidden;
  count.per_layer_mlp = hidden * up_width + shape.ffn_hidden * hidden;
  if (shape.mlp_bias) count.per_layer_mlp += up_width + hidden;
  count.per_layer_norms = 2 * norm + (shape.qk_norm ? 2 * shape.head_dim : 0);
  count.final_norm = norm;
  count.head = shape.tied_embeddings ? 0 : shape.vocab * hidden;
  return count;
}

double model_flops_per_token(const TransformerShape& shape, std::int64_t seq_length,
                             AttentionCount attention) {
  const auto parameters = static_cast<double>(count_parameters(shape).total(shape.layers));
  const double score_flops = attention == AttentionCount::full ? 12.0 : 6.0;
  return 6.0 * parameters + score_flops * static_cast<double>(shape.layers) *
                                static_cast<double>(shape.heads * shape.head_dim) *
                                static_cast<double>(seq_length);
}

double recomputed_flops_per_token(const TransformerShape& shape, std::int64_t seq_length,
                                  Recompute recompute, bool head) {
  const double layers = static_cast<double>(shape.layers);
  const double attention = 4.0 * layers * static_cast<double>(shape.heads) *
                           static_cast<double>(shape.head_dim) * static_cast<double>(seq_length);
  switch (recompute) {
    case Recompute::none: return 0;
    case Recompute::selective: return attention;
    case Recompute::full:
      return attention + 2.0 * layers * static_cast<double>(count_parameters(shape).per_layer()) +
             (head ? 2.0 * static_cast<double>(shape.vocab * shape.hidden) : 0.0);
  }
  return 0;
}

}  // namespace kumihimo
