#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/transformer.hpp"

namespace kumihimo {

/// What a model's name tells about its architecture, beyond the dimensions that a row states.
enum class ModelFamily { llama, gpt, mpt, mixture_of_experts, unknown };

ModelFamily model_family(std::string_view model_name);

/// Sets what dimensions do not say: activation, norm, positions, biases, tied embeddings, dropout.
/// `shape` holds name, hidden, heads and ffn_hidden. A name that is not known is judged by its
/// ffn_hidden: 4 x hidden is GPT-like, anything else Llama-like. What was not told by the name
/// alone is appended to `assumptions`.
/// Source: docs/runs.md lists the families and where their facts come from.
void apply_family_facts(TransformerShape& shape, std::vector<std::string>& assumptions);

/// Rows of the vocabulary, before padding, that models of such a name have where nothing else is
/// said; by its ffn_hidden where the name is not known.
std::int64_t usual_vocab(const TransformerShape& shape);

}  // namespace kumihimo
