#include "runs/model_family.hpp"

#include <array>
#include <charconv>
#include <fmt/core.h>
#include <optional>

#include "runs/contains.hpp"
#include "runs/spellings.hpp"

namespace kumihimo {
namespace {

struct NamePart {
  std::string_view text;
  ModelFamily family;
};

// The first part that occurs in the lower-case name decides, so the narrower ones come first.
constexpr std::array name_parts{
    NamePart{"moe", ModelFamily::mixture_of_experts},
    NamePart{"mixtral", ModelFamily::mixture_of_experts},
    NamePart{"deepseekv", ModelFamily::mixture_of_experts},
    NamePart{"gpt oss", ModelFamily::mixture_of_experts},
    NamePart{"gpt-oss", ModelFamily::mixture_of_experts},
    NamePart{"mpt", ModelFamily::mpt},
    NamePart{"llama", ModelFamily::llama},
    NamePart{"internlm", ModelFamily::llama},
    NamePart{"qwen", ModelFamily::llama},
    NamePart{"mistral", ModelFamily::llama},
    NamePart{"aquila", ModelFamily::llama},
    NamePart{"gpt", ModelFamily::gpt},
    NamePart{"mt-nlg", ModelFamily::gpt},
    NamePart{"megatron", ModelFamily::gpt},
};

struct NameVocab {
  std::string_view text;
  std::int64_t vocab;
};

// Likewise; of the tokenizers that their publishers trained them with.
constexpr std::array name_vocabs{
    NameVocab{"llama3", 128256}, NameVocab{"llama 3", 128256},  NameVocab{"llama-3", 128256},
    NameVocab{"qwen", 151936},   NameVocab{"internlm2", 92544}, NameVocab{"internlm", 103168},
    NameVocab{"aquila", 100008}, NameVocab{"mpt", 50368},
};
constexpr std::int64_t llama_vocab = 32000, gpt_vocab = 50257;

/// The number of a word such as "a22b", given its first letter ("a"), or of "0.5b", given none.
std::optional<double> billions(std::string_view word, std::string_view first) {
  if (!word.starts_with(first) || !word.ends_with('b')) return std::nullopt;
  word.remove_prefix(first.size());
  if (word.size() < 2) return std::nullopt;
  word.remove_suffix(1);
  double value = 0;
  const auto [end, fault] =
      std::from_chars(word.data(), word.data() + word.size(), value, std::chars_format::fixed);
  if (fault != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

/// "Qwen2.5-0.5B" has 0.5, "Qwen3_30B_a3B" with first letter "a" has 3.
std::optional<double> billions_in_name(std::string_view lower_name, std::string_view first = "") {
  while (!lower_name.empty()) {
    const std::size_t end = lower_name.find_first_of(" _-(");
    if (const auto found = billions(lower_name.substr(0, end), first)) return found;
    lower_name.remove_prefix(end == std::string_view::npos ? lower_name.size() : end + 1);
  }
  return std::nullopt;
}

void set_gpt_facts(TransformerShape& shape) {
  shape.activation = Activation::gelu;
  shape.norm = NormKind::layer_norm;
  shape.norm_bias = shape.qkv_bias = shape.output_bias = shape.mlp_bias = true;
  shape.positions = Positions::learned;
  shape.tied_embeddings = true;
  shape.dropout = true;
}

void set_llama_facts(TransformerShape& shape, std::vector<std::string>& assumptions) {
  const std::string name = lower_case(shape.name);
  const double size = billions_in_name(name).value_or(1e9);
  double largest_tied = 0;
  if (contains(name, "qwen3")) {
    shape.qk_norm = true;
    shape.head_dim = 128;
    largest_tied = 4;
  } else if (contains(name, "qwen2")) {
    shape.qkv_bias = true;
    largest_tied = 3;
  } else if (contains(name, "qwen")) {
    shape.qkv_bias = true;
    largest_tied = 0.5;
  } else if (contains(name, "internlm") && !contains(name, "internlm2")) {
    shape.qkv_bias = shape.output_bias = true;
  } else if (contains(name, "llama-like") || contains(name, "llama3.2") ||
             contains(name, "llama 3.2") || contains(name, "llama-3.2")) {
    largest_tied = 3;
  }
  shape.activation = Activation::swiglu;
  shape.norm = NormKind::rms_norm;
  shape.positions = Positions::rotary;
  shape.tied_embeddings = size <= largest_tied;
  if (shape.tied_embeddings) {
    assumptions.push_back(
        fmt::format("embeddings tied: {} ties them up to {}B", shape.name, largest_tied));
  }
}

/// Of a name that is not known: by its ffn_hidden.
ModelFamily family_by_shape(const TransformerShape& shape) {
  return shape.ffn_hidden == 4 * shape.hidden ? ModelFamily::gpt : ModelFamily::llama;
}

}  // namespace

ModelFamily model_family(std::string_view model_name) {
  const std::string name = lower_case(model_name);
  if (billions_in_name(name, "a")) return ModelFamily::mixture_of_experts;
  for (const NamePart& part : name_parts)
    if (contains(name, part.text)) return part.family;
  return ModelFamily::unknown;
}

void apply_family_facts(TransformerShape& shape, std::vector<std::string>& assumptions) {
  ModelFamily family = model_family(shape.name);
  if (family == ModelFamily::unknown) {
    family = family_by_shape(shape);
    const bool four = family == ModelFamily::gpt;
    assumptions.push_back(
        fmt::format("model \"{}\" is not known: read as {}-like, for ffn_hidden {} is{} 4 x hidden",
                    shape.name, four ? "GPT" : "Llama", shape.ffn_hidden, four ? "" : " not"));
  }
  switch (family) {
    case ModelFamily::gpt: set_gpt_facts(shape); break;
    case ModelFamily::mpt:
      set_gpt_facts(shape);
      shape.dropout = false;
      break;
    default: set_llama_facts(shape, assumptions);
  }
}

std::int64_t usual_vocab(const TransformerShape& shape) {
  const std::string name = lower_case(shape.name);
  for (const NameVocab& part : name_vocabs) {
    if (contains(name, part.text)) return part.vocab;
  }
  ModelFamily family = model_family(name);
  if (family == ModelFamily::unknown) family = family_by_shape(shape);
  return family == ModelFamily::llama ? llama_vocab : gpt_vocab;
}

}  // namespace kumihimo
