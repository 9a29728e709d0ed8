#include "model/sharded_parameters.hpp"

#include <algorithm>

namespace kumihimo {
namespace {

std::int64_t norm_parameters(const TransformerShape& shape, std::int64_t width) {
  return width * (shape.norm_bias ? 2 : 1);
}

}  // namespace

std::int64_t layer_parameters(const TransformerShape& shape, int tensor_parallel) {
  const std::int64_t query = shape.heads / tensor_parallel * shape.head_dim;
  const std::int64_t kv_heads = std::max<std::int64_t>(1, shape.kv_heads / tensor_parallel);
  const std::int64_t qkv = query + 2 * kv_heads * shape.head_dim;
  const std::int64_t ffn = shape.ffn_hidden / tensor_parallel;
  const std::int64_t up = shape.activation == Activation::swiglu ? 2 * ffn : ffn;

  std::int64_t count = shape.hidden * (qkv + query) + shape.hidden * (up + ffn);
  if (shape.qkv_bias) count += qkv;
  if (shape.output_bias) count += shape.hidden;
  if (shape.mlp_bias) count += up + shape.hidden;
  if (shape.qk_norm) count += 2 * shape.head_dim;
  return count + 2 * norm_parameters(shape, shape.hidden);
}

std::int64_t table_parameters(const TransformerShape& shape, std::int64_t vocab,
                              int tensor_parallel) {
  return vocab / tensor_parallel * shape.hidden;
}

std::int64_t embedding_parameters(const TransformerShape& shape, std::int64_t vocab,
                                  int tensor_parallel) {
  const std::int64_t table = table_parameters(shape, vocab, tensor_parallel);
  return table + (shape.positions == Positions::learned ? shape.max_positions * shape.hidden : 0);
}

std::int64_t head_parameters(const TransformerShape& shape, std::int64_t vocab, int tensor_parallel,
                             bool shares_embedding_here) {
  const std::int64_t table = table_parameters(shape, vocab, tensor_parallel);
  return norm_parameters(shape, shape.hidden) + (shares_embedding_here ? 0 : table);
}

}  // namespace kumihimo
