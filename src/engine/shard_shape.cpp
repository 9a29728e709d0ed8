#include "engine/shard_shape.hpp"

#include <algorithm>

#include "layout/layer_split.hpp"

namespace kumihimo {

ShardShape shard_shape(const TrainingOptions& options, int tensor_rank) {
  const TransformerShape& model = options.job.model;
  const ParallelLayout& layout = options.layout;
  const int tp = layout.tensor_parallel;
  ShardShape shape;
  shape.sequences = layout.micro_batch_size;
  shape.seq_length = options.job.seq_length;
  shape.tokens = shape.sequences * shape.seq_length;
  shape.norm_tokens = layout.sequence_parallel ? shape.tokens / tp : shape.tokens;
  shape.hidden = model.hidden;
  shape.heads = model.heads / tp;
  shape.kv_heads = std::max<std::int64_t>(1, model.kv_heads / tp);
  shape.head_dim = model.head_dim;
  shape.ffn_hidden = model.ffn_hidden / tp;
  shape.vocab_rows = padded_vocab(options.job, tp) / tp;
  shape.vocab_first = tensor_rank * shape.vocab_rows;
  shape.vocab_valid =
      std::clamp<std::int64_t>(model.vocab - shape.vocab_first, 0, shape.vocab_rows);
  shape.tensor_parallel = tp;
  shape.tensor_rank = tensor_rank;
  shape.sequence_parallel = layout.sequence_parallel;
  shape.dtype = storage_dtype(layout.precision);
  shape.norm = {model.norm, layout.norm, model.norm_epsilon};
  shape.attention = layout.attention;
  shape.activation = model.activation;
  shape.positions = model.positions;
  shape.recompute = layout.recompute;
  return shape;
}

}  // namespace kumihimo
