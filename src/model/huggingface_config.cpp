#include "model/huggingface_config.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "base/json_document.hpp"
#include "model/config_fields.hpp"
#include "model/validate_transformer.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::json;

constexpr const char* remedy = "name a Hugging Face config.json";

enum class Family { llama, mistral, qwen2, qwen3, gpt2, gpt_neox, mpt };

struct FamilyNames {
  Family family;
  std::string_view model_type;
  std::string_view architecture;
};

constexpr std::array<FamilyNames, 7> families{{
    {Family::llama, "llama", "LlamaForCausalLM"},
    {Family::mistral, "mistral", "MistralForCausalLM"},
    {Family::qwen2, "qwen2", "Qwen2ForCausalLM"},
    {Family::qwen3, "qwen3", "Qwen3ForCausalLM"},
    {Family::gpt2, "gpt2", "GPT2LMHeadModel"},
    {Family::gpt_neox, "gpt_neox", "GPTNeoXForCausalLM"},
    {Family::mpt, "mpt", "MPTForCausalLM"},
}};

std::optional<Family> find_family(ConfigFields& file) {
  std::string known;
  for (const FamilyNames& names : families)
    known += fmt::format("{}{}", known.empty() ? "supported: " : ", ", names.model_type);

  std::string_view key = "model_type";
  const Json* value = file.find(key);
  if (!value) {
    const Json* architectures = file.find("architectures");
    if (architectures && architectures->is_array() && !architectures->empty()) {
      key = "architectures";
      value = &architectures->front();
    }
  }
  if (!value) {
    file.fault(key, "is missing", known);
    return std::nullopt;
  }
  if (value->is_string()) {
    const std::string& text = value->get_ref<const std::string&>();
    for (const FamilyNames& names : families)
      if (text == (key == "model_type" ? names.model_type : names.architecture))
        return names.family;
  }
  file.fault(key, fmt::format("is {}, which is not supported", show(*value)), known);
  return std::nullopt;
}

void refuse_experts(ConfigFields& file, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    const Json* value = file.find(key);
    if (!value || (value->is_number() && value->get<double>() <= 1)) continue;
    file.fault(key, fmt::format("is {}: mixtures of experts are not modelled", show(*value)),
               "name a dense model");
  }
}

bool any_dropout(ConfigFields& fields, std::initializer_list<std::string_view> keys,
                 double absent) {
  bool any = false;
  for (const std::string_view key : keys) {
    const double rate = fields.number(key, absent);
    if (!(rate >= 0 && rate < 1))
      fields.fault(key, fmt::format("is {}", rate), "give a probability, from 0 to below 1");
    any = any || rate > 0;
  }
  return any;
}

/// Transformers 5 keeps rope_theta in rope_parameters, 4 beside the other keys.
double read_rope_theta(ConfigFields& file, std::string_view old_key, ShapeKeys& keys) {
  ConfigFields parameters = file.nested("rope_parameters");
  if (parameters.find("rope_theta")) {
    keys.rope_theta = "rope_parameters.rope_theta";
    return parameters.number("rope_theta", 10000.0);
  }
  keys.rope_theta = file.find(old_key) ? old_key : "rope_theta";
  return file.number(keys.rope_theta, 10000.0);
}

/// 4 x hidden; any valid number if hidden is beyond what validate will accept.
std::int64_t four_times(std::int64_t hidden) {
  return hidden > 0 && hidden <= max_hidden ? 4 * hidden : 1;
}

/// True if layer_types, or for Qwen max_window_layers, gives some layer the sliding window.
bool has_sliding_layers(ConfigFields& file, bool qwen, std::int64_t layers) {
  const Json* types = file.find("layer_types");
  if (!types) return !qwen || file.whole("max_window_layers", 28) < layers;
  if (!types->is_array()) {
    file.fault("layer_types", fmt::format("is {}", show(*types)), "give a list, one type a layer");
    return false;
  }
  bool sliding = false;
  for (const Json& type : *types) {
    const auto* const text = type.get_ptr<const std::string*>();
    if (text && *text == "sliding_attention") {
      sliding = true;
    } else if (!text || *text != "full_attention") {
      file.fault("layer_types", fmt::format("holds {}, which is not modelled", show(type)),
                 "only full_attention can be planned");
      return false;
    }
  }
  return sliding;
}

void refuse_sliding_window(ConfigFields& file, Family family, const TransformerShape& shape) {
  const bool qwen = family == Family::qwen2 || family == Family::qwen3;
  const bool enabled = file.flag("use_sliding_window", !qwen);
  const bool sliding_layers = has_sliding_layers(file, qwen, shape.layers);
  const bool by_default = !file.stated("sliding_window") && family != Family::llama;
  if (!by_default && !file.find("sliding_window")) return;

  const std::int64_t window = by_default ? 4096 : file.whole("sliding_window");
  if (window == unreadable || !enabled || !sliding_layers || window >= shape.max_positions) return;
  file.fault("sliding_window",
             fmt::format("is {}, less than max_position_embeddings {}: attention over a window is "
                         "not modelled",
                         by_default ? "not stated, which means 4096" : std::to_string(window),
                         shape.max_positions),
             "set \"sliding_window\": null to plan it with full attention");
}

TransformerShape read_llama_like(ConfigFields& file, Family family, ShapeKeys& keys) {
  keys = {.layers = "num_hidden_layers",
          .hidden = "hidden_size",
          .heads = "num_attention_heads",
          .kv_heads = "num_key_value_heads",
          .head_dim = "head_dim",
          .ffn_hidden = "intermediate_size",
          .vocab = "vocab_size",
          .max_positions = "max_position_embeddings",
          .norm_epsilon = "rms_norm_eps"};
  TransformerShape shape;
  shape.layers = file.whole(keys.layers);
  shape.hidden = file.whole(keys.hidden);
  shape.heads = file.whole(keys.heads);
  shape.ffn_hidden = file.whole(keys.ffn_hidden);
  shape.vocab = file.whole(keys.vocab);
  shape.max_positions = file.whole(keys.max_positions);
  // Left out, it means "as many as heads" for Llama, but a number unlike the model's elsewhere; a
  // null means the first everywhere.
  const bool may_lack = family == Family::llama || file.stated(keys.kv_heads);
  shape.kv_heads = may_lack ? file.whole(keys.kv_heads, shape.heads) : file.whole(keys.kv_heads);
  shape.head_dim = file.whole(
      keys.head_dim, family == Family::qwen3 ? 128 : split_hidden(shape.hidden, shape.heads));

  shape.tied_embeddings = file.flag("tie_word_embeddings", false);
  const bool attention_bias =
      (family == Family::llama || family == Family::qwen3) && file.flag("attention_bias", false);
  shape.qkv_bias = family == Family::qwen2 || attention_bias;
  shape.output_bias = attention_bias;
  shape.mlp_bias = family == Family::llama && file.flag("mlp_bias", false);
  shape.qk_norm = family == Family::qwen3;
  shape.dropout = any_dropout(file, {"attention_dropout"}, 0.0);
  shape.norm_epsilon = file.number(keys.norm_epsilon, 1e-6);
  shape.rope_theta = read_rope_theta(file, "rope_theta", keys);
  file.require_text(
      "hidden_act", [](std::string_view act) { return act == "silu" || act == "swish"; },
      "only silu is, for this family");
  refuse_sliding_window(file, family, shape);
  return shape;
}

/// What the GELU families share.
TransformerShape gelu_shape() {
  TransformerShape shape;
  shape.norm = NormKind::layer_norm;
  shape.activation = Activation::gelu;
  return shape;
}

constexpr auto is_gelu = [](std::string_view activation) {
  return activation.starts_with("gelu") || activation == "quick_gelu";
};
constexpr std::string_view gelu_fix = "only the variants of gelu are, for this family";

TransformerShape read_gpt2(ConfigFields& file, ShapeKeys& keys) {
  keys = {
      .layers = "n_layer",
      .hidden = "n_embd",
      .heads = "n_head",
      .kv_heads = "n_head",
      .head_dim = "n_head",
      .ffn_hidden = "n_inner",
      .vocab = "vocab_size",
      .max_positions = file.find("n_positions") || !file.find("n_ctx") ? "n_positions" : "n_ctx",
      .norm_epsilon = "layer_norm_epsilon"};
  TransformerShape shape = gelu_shape();
  shape.layers = file.whole(keys.layers);
  shape.hidden = file.whole(keys.hidden);
  shape.heads = file.whole(keys.heads);
  shape.kv_heads = shape.heads;
  shape.head_dim = split_hidden(shape.hidden, shape.heads);
  shape.ffn_hidden = file.whole(keys.ffn_hidden, four_times(shape.hidden));
  shape.vocab = file.whole(keys.vocab);
  shape.max_positions = file.whole(keys.max_positions);
  shape.positions = Positions::learned;
  shape.tied_embeddings = file.flag("tie_word_embeddings", true);
  shape.qkv_bias = shape.output_bias = shape.mlp_bias = shape.norm_bias = true;
  shape.dropout = any_dropout(file, {"attn_pdrop", "resid_pdrop", "embd_pdrop"}, 0.1);
  shape.norm_epsilon = file.number(keys.norm_epsilon, 1e-5);
  file.require_text("activation_function", is_gelu, gelu_fix);
  file.require_off("add_cross_attention", "only decoders are modelled");
  return shape;
}

TransformerShape read_gpt_neox(ConfigFields& file, ShapeKeys& keys) {
  keys = {.layers = "num_hidden_layers",
          .hidden = "hidden_size",
          .heads = "num_attention_heads",
          .kv_heads = "num_attention_heads",
          .head_dim = "num_attention_heads",
          .ffn_hidden = "intermediate_size",
          .vocab = "vocab_size",
          .max_positions = "max_position_embeddings",
          .norm_epsilon = "layer_norm_eps"};
  TransformerShape shape = gelu_shape();
  shape.layers = file.whole(keys.layers);
  shape.hidden = file.whole(keys.hidden);
  shape.heads = file.whole(keys.heads);
  shape.kv_heads = shape.heads;
  shape.head_dim = split_hidden(shape.hidden, shape.heads);
  shape.ffn_hidden = file.whole(keys.ffn_hidden);
  shape.vocab = file.whole(keys.vocab);
  shape.max_positions = file.whole(keys.max_positions);
  shape.tied_embeddings = file.flag("tie_word_embeddings", false);
  shape.qkv_bias = shape.output_bias = file.flag("attention_bias", true);
  shape.mlp_bias = shape.norm_bias = true;
  shape.dropout = any_dropout(file, {"attention_dropout", "hidden_dropout"}, 0.0);
  shape.norm_epsilon = file.number(keys.norm_epsilon, 1e-5);
  shape.rope_theta = read_rope_theta(file, "rotary_emb_base", keys);
  file.require_text("hidden_act", is_gelu, gelu_fix);
  return shape;
}

/// d_model x expansion_ratio, which may be a fraction but must come out whole.
std::int64_t expand(ConfigFields& file, std::int64_t hidden) {
  const double ratio = file.number("expansion_ratio", 4.0);
  const double width = ratio * static_cast<double>(hidden);
  if (hidden <= 0 || hidden > max_hidden) return 1;
  if (width >= 1 && width < 1e15 && width == static_cast<double>(static_cast<std::int64_t>(width)))
    return static_cast<std::int64_t>(width);
  file.fault("expansion_ratio", fmt::format("is {}, which makes an MLP {} wide", ratio, width),
             "give a positive ratio whose product with d_model is whole, such as 4");
  return unreadable;
}

TransformerShape read_mpt(ConfigFields& file, ShapeKeys& keys) {
  keys = {.layers = "n_layers",
          .hidden = "d_model",
          .heads = "n_heads",
          .kv_heads = "attn_config.kv_n_heads",
          .head_dim = "n_heads",
          .ffn_hidden = "expansion_ratio",
          .vocab = "vocab_size",
          .max_positions = "max_seq_len",
          .norm_epsilon = "layer_norm_epsilon",
          .rope_theta = "attn_config.rope_theta"};
  TransformerShape shape = gelu_shape();
  shape.layers = file.whole(keys.layers);
  shape.hidden = file.whole(keys.hidden);
  shape.heads = file.whole(keys.heads);
  shape.head_dim = split_hidden(shape.hidden, shape.heads);
  shape.ffn_hidden = expand(file, shape.hidden);
  shape.vocab = file.whole(keys.vocab);
  shape.max_positions = file.whole(keys.max_positions);
  shape.tied_embeddings = file.flag("tie_word_embeddings", true);
  const bool biases = !file.required_flag("no_bias");
  shape.qkv_bias = shape.output_bias = shape.mlp_bias = shape.norm_bias = biases;
  shape.norm_epsilon = file.number(keys.norm_epsilon, 1e-5);
  file.require_text(
      "norm_type",
      [](std::string_view type) {
        return type == "low_precision_layernorm" || type == "layernorm";
      },
      "only low_precision_layernorm and layernorm are");

  ConfigFields attention = file.nested("attn_config");
  const Json* attention_type = attention.find("attn_type");
  if (attention_type && *attention_type == "multiquery_attention") {
    shape.kv_heads = 1;
  } else if (attention_type && *attention_type == "grouped_query_attention") {
    shape.kv_heads = attention.whole("kv_n_heads");
  } else {
    shape.kv_heads = shape.heads;
    attention.require_text(
        "attn_type", [](std::string_view type) { return type == "multihead_attention"; },
        "multihead_attention, grouped_query_attention and multiquery_attention are");
  }
  const bool alibi = attention.required_flag("alibi");
  const bool rotary = attention.flag("rope", false);
  const bool learned = file.flag("learned_pos_emb", true);
  shape.positions = alibi     ? Positions::alibi
                    : rotary  ? Positions::rotary
                    : learned ? Positions::learned
                              : Positions::none;
  if (rotary) shape.rope_theta = attention.number("rope_theta", 10000.0);
  attention.require_off("qk_ln", "its norm over all heads is not modelled");
  attention.require_off("qk_gn", "its norm is not modelled");
  attention.require_off("prefix_lm", "only causal attention is modelled");
  const std::int64_t window = attention.whole("sliding_window_size", -1);
  if (window >= 0 && window < shape.max_positions)
    attention.fault("sliding_window_size",
                    fmt::format("is {}, less than max_seq_len {}: attention over a window is not "
                                "modelled",
                                window, shape.max_positions),
                    "set it to -1 to plan it with full attention");

  ConfigFields mlp = file.nested("ffn_config");
  mlp.require_text(
      "ffn_type", [](std::string_view type) { return type == "mptmlp"; }, "only mptmlp is");
  refuse_experts(mlp, {"moe_num_experts"});

  const bool residual_dropout = any_dropout(file, {"resid_pdrop", "emb_pdrop"}, 0.0);
  shape.dropout = any_dropout(attention, {"attn_pdrop"}, 0.0) || residual_dropout;
  return shape;
}

TransformerShape read_family(ConfigFields& file, Family family, ShapeKeys& keys) {
  switch (family) {
    case Family::gpt2: return read_gpt2(file, keys);
    case Family::gpt_neox: return read_gpt_neox(file, keys);
    case Family::mpt: return read_mpt(file, keys);
    default: return read_llama_like(file, family, keys);
  }
}

}  // namespace

Expected<TransformerShape> parse_huggingface_config(std::string_view text, std::string_view where) {
  const Expected<Json> root = parse_json(text, where, remedy);
  if (!root) return root.errors();
  if (!root->is_object())
    return Error{std::string(where), fmt::format("holds {} instead of an object", show(*root)),
                 remedy};

  Errors errors;
  ConfigFields file(*root, std::string(where), "", errors);
  refuse_experts(file, {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"});
  file.require_off("is_encoder_decoder", "only decoders are modelled");
  const std::optional<Family> family = find_family(file);
  if (!family) return errors;

  ShapeKeys keys;
  TransformerShape shape = read_family(file, *family, keys);
  shape.name = where;
  for (Error& fault : validate(shape, where, keys)) {
    const bool told = std::any_of(errors.begin(), errors.end(), [&](const Error& earlier) {
      return earlier.where == fault.where;
    });
    if (!told) errors.push_back(std::move(fault));
  }
  if (!errors.empty()) return errors;
  return shape;
}

}  // namespace kumihimo
