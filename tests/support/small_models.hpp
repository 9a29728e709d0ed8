#pragma once

#include <string>

#include "engine/training_options.hpp"
#include "layout/layout_text.hpp"

namespace kumihimo::testing {

/// Grouped-query attention: with tp 4, two ranks share a key/value head. No tp but 1 and 2 divides
/// the vocabulary.
inline TransformerShape small_llama() {
  TransformerShape model;
  model.name = "small llama";
  model.layers = 4;
  model.hidden = 32;
  model.heads = 4;
  model.kv_heads = 2;
  model.head_dim = 8;
  model.ffn_hidden = 48;
  model.vocab = 50;
  model.max_positions = 64;
  return model;
}

/// The same size, as GPT-2 is made: all biases, tied embeddings, learned positions.
inline TransformerShape as_gpt(TransformerShape model) {
  model.kv_heads = model.heads;
  model.norm = NormKind::layer_norm;
  model.norm_bias = model.qkv_bias = model.output_bias = model.mlp_bias = true;
  model.activation = Activation::gelu;
  model.positions = Positions::learned;
  model.tied_embeddings = true;
  return model;
}

inline TransformerShape small_gpt() {
  TransformerShape model = as_gpt(small_llama());
  model.name = "small gpt";
  return model;
}

/// Two micro-batches or more on up to four data-parallel ranks.
inline TrainingOptions small_options(const TransformerShape& model, const std::string& layout,
                                     const std::string& precision = "fp32") {
  TrainingOptions options;
  options.job = {.model = model, .seq_length = 16, .global_batch_size = 8};
  options.layout = *parse_layout("precision=" + precision + " " + layout);
  options.learning_rate = {.shape = LearningRateShape::constant, .peak = 1e-2};
  options.backend = Backend::reference;
  return options;
}

}  // namespace kumihimo::testing
