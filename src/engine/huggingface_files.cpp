#include "engine/huggingface_files.hpp"

#include <nlohmann/json.hpp>
#include <set>

#include "engine/parameter_units.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

bool is_gpt2(const TransformerShape& model) {
  return model.norm == NormKind::layer_norm && model.norm_bias &&
         model.activation == Activation::gelu && model.positions == Positions::learned &&
         model.kv_heads == model.heads && model.head_dim * model.heads == model.hidden &&
         model.qkv_bias && model.output_bias && model.mlp_bias;
}

bool is_llama_like(const TransformerShape& model) {
  return model.norm == NormKind::rms_norm && !model.norm_bias && !model.qk_norm &&
         model.activation == Activation::swiglu && model.positions == Positions::rotary;
}

Json gpt2_config(const TransformerShape& model) {
  const double dropout = model.dropout ? 0.1 : 0.0;
  return {{"architectures", {"GPT2LMHeadModel"}},
          {"model_type", "gpt2"},
          {"n_layer", model.layers},
          {"n_embd", model.hidden},
          {"n_head", model.heads},
          {"n_inner", model.ffn_hidden},
          {"vocab_size", model.vocab},
          {"n_positions", model.max_positions},
          {"activation_function", "gelu_new"},
          {"layer_norm_epsilon", model.norm_epsilon},
          {"attn_pdrop", dropout},
          {"resid_pdrop", dropout},
          {"embd_pdrop", dropout},
          {"tie_word_embeddings", model.tied_embeddings}};
}

Json llama_config(const TransformerShape& model, bool qwen2) {
  Json config{{"architectures", {qwen2 ? "Qwen2ForCausalLM" : "LlamaForCausalLM"}},
              {"model_type", qwen2 ? "qwen2" : "llama"},
              {"num_hidden_layers", model.layers},
              {"hidden_size", model.hidden},
              {"num_attention_heads", model.heads},
              {"num_key_value_heads", model.kv_heads},
              {"head_dim", model.head_dim},
              {"intermediate_size", model.ffn_hidden},
              {"vocab_size", model.vocab},
              {"max_position_embeddings", model.max_positions},
              {"hidden_act", "silu"},
              {"rms_norm_eps", model.norm_epsilon},
              {"rope_theta", model.rope_theta},
              {"attention_dropout", model.dropout ? 0.1 : 0.0},
              {"tie_word_embeddings", model.tied_embeddings}};
  if (qwen2) {
    config["use_sliding_window"] = false;
  } else {
    config["attention_bias"] = model.qkv_bias;
    config["mlp_bias"] = model.mlp_bias;
  }
  return config;
}

}  // namespace

std::vector<StoredTensor> model_tensors(const TrainingOptions& options) {
  TrainingOptions whole = options;
  whole.layout = {};
  const std::string dtype = storage_dtype(options.layout.precision) == DType::fp32 ? "F32" : "BF16";
  std::vector<StoredTensor> tensors;
  std::set<std::string> names;  // GPT-2's queries, keys and values are one tensor
  for (const ParameterUnit& unit : parameter_units(whole, {})) {
    for (const Parameter& parameter : unit.parameters) {
      const StoredSlice& stored = parameter.stored;
      if (!names.insert(stored.name).second) continue;
      StoredTensor tensor{.name = stored.name, .dtype = dtype, .shape = {stored.whole_rows}};
      if (stored.whole_cols > 0) tensor.shape.push_back(stored.whole_cols);
      tensors.push_back(std::move(tensor));
    }
  }
  return tensors;
}

std::optional<std::string> huggingface_config(const TransformerShape& model, DType dtype) {
  Json config;
  const bool qwen2 = model.qkv_bias && !model.output_bias && !model.mlp_bias;
  if (is_gpt2(model)) {
    config = gpt2_config(model);
  } else if (is_llama_like(model) && (qwen2 || model.qkv_bias == model.output_bias)) {
    config = llama_config(model, qwen2);
  } else {
    return std::nullopt;
  }
  config["torch_dtype"] = dtype == DType::fp32 ? "float32" : "bfloat16";
  return config.dump(2) + "\n";
}

}  // namespace kumihimo
