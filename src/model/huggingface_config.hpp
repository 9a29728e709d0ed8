#pragma once

#include <string_view>

#include "base/error.hpp"
#include "model/transformer.hpp"

namespace kumihimo {

/// Reads the text of a Hugging Face config.json: llama, mistral, qwen2, qwen3 (dense), gpt2,
/// gpt_neox and mpt, by model_type or, without it, by architectures; the spellings of Transformers
/// 4 and 5. Keys that a file may leave out take the library's default; docs/models.md lists them.
/// What would change the counts but is not modelled is refused: mixtures of experts, attention over
/// a sliding window in effect, encoders, other activations. Keys that do not matter are ignored.
/// All faults come back at once, at "where: key" with the key as the file spells it. The shape's
/// name is `where`.
Expected<TransformerShape> parse_huggingface_config(std::string_view text, std::string_view where);

}  // namespace kumihimo
