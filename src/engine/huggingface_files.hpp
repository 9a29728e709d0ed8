#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/training_options.hpp"
#include "saved_state/safetensors.hpp"

namespace kumihimo {

/// The weights of the whole model as Hugging Face's transformers names and shapes them, F32 or BF16
/// as they are trained; the same for every layout. Offsets are not set.
std::vector<StoredTensor> model_tensors(const TrainingOptions& options);

/// The text of the config.json with which transformers opens those weights, and from which
/// parse_huggingface_config reads the same shape: LlamaForCausalLM, Qwen2ForCausalLM (biases on
/// queries, keys and values alone) or GPT2LMHeadModel. Nothing for a shape that is none of them.
std::optional<std::string> huggingface_config(const TransformerShape& model, DType dtype);

}  // namespace kumihimo
