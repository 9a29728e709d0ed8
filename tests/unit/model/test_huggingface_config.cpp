#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "model/huggingface_config.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::json;

Json llama() {
  return {{"model_type", "llama"},   {"vocab_size", 32000},
          {"hidden_size", 4096},     {"intermediate_size", 11008},
          {"num_hidden_layers", 32}, {"num_attention_heads", 32},
          {"hidden_act", "silu"},    {"max_position_embeddings", 4096}};
}

Json qwen(std::string_view type) {
  Json config = llama();
  config["model_type"] = type;
  config["num_key_value_heads"] = 8;
  return config;
}

Json gpt2() {
  return {{"model_type", "gpt2"}, {"vocab_size", 50257}, {"n_embd", 768},
          {"n_head", 12},         {"n_layer", 12},       {"n_positions", 1024}};
}

Json mpt() {
  return {{"model_type", "mpt"}, {"vocab_size", 50432},
          {"d_model", 4096},     {"n_heads", 32},
          {"n_layers", 32},      {"max_seq_len", 2048},
          {"no_bias", true},     {"attn_config", {{"alibi", true}}}};
}

Json changed(Json config, const Json& changes) {
  for (const auto& [key, value] : changes.items()) config[key] = value;
  return config;
}

TransformerShape shape_of(const Json& config) {
  const auto shape = parse_huggingface_config(config.dump(), "config.json");
  EXPECT_TRUE(shape) << (shape ? "" : to_string(shape.errors()));
  return shape ? *shape : TransformerShape{};
}

Errors errors_of(std::string_view text) {
  const auto shape = parse_huggingface_config(text, "config.json");
  EXPECT_FALSE(shape);
  return shape ? Errors{} : shape.errors();
}

/// The one fault of `config`, as it is printed.
std::string fault_of(const Json& config) {
  const Errors errors = errors_of(config.dump());
  EXPECT_EQ(errors.size(), 1u) << to_string(errors);
  return to_string(errors);
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(LlamaConfig, FillsWhatTheFileLeavesOut) {
  const TransformerShape shape = shape_of(llama());
  EXPECT_EQ(shape.name, "config.json");
  EXPECT_EQ(shape.layers, 32);
  EXPECT_EQ(shape.hidden, 4096);
  EXPECT_EQ(shape.heads, 32);
  EXPECT_EQ(shape.kv_heads, 32);
  EXPECT_EQ(shape.head_dim, 4096 / 32);
  EXPECT_EQ(shape.ffn_hidden, 11008);
  EXPECT_EQ(shape.vocab, 32000);
  EXPECT_EQ(shape.max_positions, 4096);
  EXPECT_FALSE(shape.tied_embeddings || shape.qkv_bias || shape.output_bias || shape.mlp_bias ||
               shape.qk_norm || shape.dropout || shape.norm_bias);
  EXPECT_EQ(shape.norm, NormKind::rms_norm);
  EXPECT_EQ(shape.activation, Activation::swiglu);
  EXPECT_EQ(shape.positions, Positions::rotary);
  EXPECT_EQ(shape.norm_epsilon, 1e-6);
  EXPECT_EQ(shape.rope_theta, 10000.0);
}

TEST(LlamaConfig, ReadsWhatTheFileStates) {
  const TransformerShape shape = shape_of(changed(llama(), {{"num_key_value_heads", 8},
                                                            {"head_dim", 64},
                                                            {"tie_word_embeddings", true},
                                                            {"attention_bias", true},
                                                            {"mlp_bias", true},
                                                            {"attention_dropout", 0.1},
                                                            {"rms_norm_eps", 1e-5},
                                                            {"rope_theta", 500000},
                                                            {"torch_dtype", "bfloat16"}}));
  EXPECT_EQ(shape.kv_heads, 8);
  EXPECT_EQ(shape.head_dim, 64);
  EXPECT_TRUE(shape.tied_embeddings && shape.qkv_bias && shape.output_bias && shape.mlp_bias &&
              shape.dropout);
  EXPECT_EQ(shape.norm_epsilon, 1e-5);
  EXPECT_EQ(shape.rope_theta, 500000.0);
}

TEST(LlamaConfig, ReadsTheNewerPlaceOfRopeTheta) {
  const TransformerShape shape = shape_of(changed(
      llama(),
      {{"dtype", "bfloat16"}, {"rope_parameters", {{"rope_theta", 1e6}}}, {"rope_theta", 5}}));
  EXPECT_EQ(shape.rope_theta, 1e6);
  EXPECT_TRUE(contains(fault_of(changed(llama(), {{"rope_parameters", {{"rope_theta", -1}}}})),
                       "config.json: rope_parameters.rope_theta: is -1"));
}

TEST(LlamaConfig, NullCountsAsAbsent) {
  const TransformerShape shape = shape_of(changed(
      llama(), {{"num_key_value_heads", nullptr}, {"head_dim", nullptr}, {"rope_theta", nullptr}}));
  EXPECT_EQ(shape.kv_heads, 32);
  EXPECT_EQ(shape.head_dim, 128);
}

TEST(LlamaConfig, KnowsTheFamilyFromTheArchitectureAlone) {
  Json config = qwen("qwen2");
  config.erase("model_type");
  config["architectures"] = {"Qwen2ForCausalLM"};
  EXPECT_TRUE(shape_of(config).qkv_bias);
}

TEST(QwenConfig, Qwen2HasBiasesOfQueriesKeysAndValuesOnly) {
  const TransformerShape shape = shape_of(qwen("qwen2"));
  EXPECT_TRUE(shape.qkv_bias);
  EXPECT_FALSE(shape.output_bias || shape.qk_norm);
}

TEST(QwenConfig, Qwen3HasNormsOfQueriesAndKeysAndHeadsOf128) {
  const TransformerShape shape = shape_of(changed(qwen("qwen3"), {{"num_attention_heads", 16}}));
  EXPECT_TRUE(shape.qk_norm);
  EXPECT_FALSE(shape.qkv_bias);
  EXPECT_EQ(shape.head_dim, 128);  // not 4096 / 16
}

TEST(QwenConfig, MustStateKeyValueHeads) {
  for (const std::string type : {"qwen2", "qwen3"}) {
    Json config = qwen(type);
    config.erase("num_key_value_heads");
    EXPECT_TRUE(contains(fault_of(config), "num_key_value_heads: is missing")) << type;
  }
}

TEST(SlidingWindow, RefusedWhereItIsInEffect) {
  const Json mistral = changed(qwen("mistral"), {{"max_position_embeddings", 32768}});
  EXPECT_EQ(fault_of(changed(mistral, {{"sliding_window", 4096}})),
            "config.json: sliding_window: is 4096, less than max_position_embeddings 32768: "
            "attention over a window is not modelled; set \"sliding_window\": null to plan it with "
            "full attention\n");
  EXPECT_TRUE(contains(fault_of(mistral), "is not stated, which means 4096"));
  shape_of(changed(mistral, {{"sliding_window", nullptr}}));
  shape_of(changed(mistral, {{"sliding_window", 32768}}));
  fault_of(changed(mistral, {{"sliding_window", -1}}));

  // The way out that the message names works for Qwen too.
  const Json qwen2 = changed(qwen("qwen2"), {{"max_position_embeddings", 32768},
                                             {"sliding_window", 4096},
                                             {"use_sliding_window", true},
                                             {"max_window_layers", 16}});
  fault_of(qwen2);
  shape_of(changed(qwen2, {{"sliding_window", nullptr}}));
  shape_of(changed(qwen2, {{"use_sliding_window", false}}));
  shape_of(changed(qwen2, {{"max_window_layers", 32}}));  // no layer is left to slide
}

TEST(SlidingWindow, LayerTypesDecide) {
  const Json qwen3 = changed(
      qwen("qwen3"),
      {{"max_position_embeddings", 32768}, {"sliding_window", 4096}, {"use_sliding_window", true}});
  shape_of(changed(qwen3, {{"layer_types", Json::array({"full_attention"})}}));
  fault_of(changed(qwen3, {{"layer_types", {"full_attention", "sliding_attention"}}}));
  EXPECT_TRUE(contains(fault_of(changed(qwen3, {{"layer_types", {"linear_attention", 3}}})),
                       "layer_types: holds \"linear_attention\""));
  fault_of(changed(qwen3, {{"layer_types", "full_attention"}}));
}

TEST(Gpt2Config, FillsWhatTheFileLeavesOut) {
  const TransformerShape shape = shape_of(changed(gpt2(), {{"n_inner", nullptr}}));
  EXPECT_EQ(shape.ffn_hidden, 4 * 768);
  EXPECT_EQ(shape.kv_heads, 12);
  EXPECT_EQ(shape.head_dim, 64);
  EXPECT_EQ(shape.positions, Positions::learned);
  EXPECT_EQ(shape.activation, Activation::gelu);
  EXPECT_EQ(shape.norm, NormKind::layer_norm);
  EXPECT_TRUE(shape.tied_embeddings && shape.qkv_bias && shape.output_bias && shape.mlp_bias &&
              shape.norm_bias);
  EXPECT_TRUE(shape.dropout);  // the library's default is 0.1
}

TEST(Gpt2Config, ReadsWhatTheFileStates) {
  Json config = changed(gpt2(), {{"n_inner", 1000},
                                 {"activation_function", "gelu_new"},
                                 {"tie_word_embeddings", false},
                                 {"attn_pdrop", 0},
                                 {"resid_pdrop", 0.0},
                                 {"embd_pdrop", 0.0}});
  config.erase("n_positions");
  config["n_ctx"] = 512;
  const TransformerShape shape = shape_of(config);
  EXPECT_EQ(shape.ffn_hidden, 1000);
  EXPECT_EQ(shape.max_positions, 512);
  EXPECT_FALSE(shape.tied_embeddings || shape.dropout);
}

TEST(GptNeoxConfig, IsRotaryWithBiases) {
  Json config = changed(llama(), {{"model_type", "gpt_neox"},
                                  {"hidden_act", "gelu"},
                                  {"rotary_emb_base", 25000},
                                  {"hidden_dropout", 0.1}});
  const TransformerShape shape = shape_of(config);
  EXPECT_EQ(shape.positions, Positions::rotary);
  EXPECT_EQ(shape.rope_theta, 25000.0);
  EXPECT_TRUE(shape.qkv_bias && shape.output_bias && shape.mlp_bias && shape.norm_bias);
  EXPECT_TRUE(shape.dropout);
  EXPECT_FALSE(shape.tied_embeddings);
  EXPECT_FALSE(shape_of(changed(config, {{"attention_bias", false}})).qkv_bias);
}

TEST(MptConfig, ReadsItsOwnKeys) {
  const TransformerShape shape = shape_of(mpt());
  EXPECT_EQ(shape.ffn_hidden, 4 * 4096);
  EXPECT_EQ(shape.positions, Positions::alibi);
  EXPECT_EQ(shape.norm, NormKind::layer_norm);
  EXPECT_TRUE(shape.tied_embeddings);
  EXPECT_FALSE(shape.qkv_bias || shape.norm_bias || shape.mlp_bias || shape.dropout);
  EXPECT_EQ(shape_of(changed(mpt(), {{"expansion_ratio", 2.5}})).ffn_hidden, 10240);
  EXPECT_TRUE(
      shape_of(changed(mpt(), {{"attn_config", {{"alibi", true}, {"attn_pdrop", 0.1}}}})).dropout);
}

TEST(MptConfig, PositionsFollowAlibiThenRopeThenTheTable) {
  const auto positions = [](bool alibi, bool rope, bool learned) {
    return shape_of(changed(mpt(), {{"attn_config", {{"alibi", alibi}, {"rope", rope}}},
                                    {"learned_pos_emb", learned}}))
        .positions;
  };
  EXPECT_EQ(positions(true, false, true), Positions::alibi);
  EXPECT_EQ(positions(false, true, true), Positions::rotary);
  EXPECT_EQ(positions(false, false, true), Positions::learned);
  EXPECT_EQ(positions(false, false, false), Positions::none);
}

TEST(MptConfig, ReadsGroupedQueries) {
  const auto with = [](const Json& attention) {
    return changed(mpt(), {{"attn_config", changed({{"alibi", true}}, attention)}});
  };
  EXPECT_EQ(shape_of(with({{"attn_type", "multiquery_attention"}})).kv_heads, 1);
  EXPECT_EQ(shape_of(with({{"attn_type", "grouped_query_attention"}, {"kv_n_heads", 8}})).kv_heads,
            8);
  EXPECT_TRUE(contains(fault_of(with({{"attn_type", "grouped_query_attention"}})),
                       "attn_config.kv_n_heads: is missing"));
  EXPECT_TRUE(
      contains(fault_of(with({{"attn_type", "grouped_query_attention"}, {"kv_n_heads", 5}})),
               "attn_config.kv_n_heads: is 5, which does not divide n_heads 32"));
  EXPECT_TRUE(contains(fault_of(with({{"attn_type", 3}})), "attn_config.attn_type: is 3"));
}

TEST(MptConfig, RefusesWhatItCannotCount) {
  for (const Json& change :
       std::vector<Json>{{{"expansion_ratio", 2.7183}},
                         {{"expansion_ratio", -4}},
                         {{"expansion_ratio", 1e300}},
                         {{"expansion_ratio", "4"}},
                         {{"no_bias", nullptr}},
                         {{"norm_type", "rmsnorm"}},
                         {{"ffn_config", {{"ffn_type", "mptglu"}}}},
                         {{"ffn_config", {{"moe_num_experts", 8}}}},
                         {{"attn_config", {{"alibi", 1}}}},
                         {{"attn_config", {{"qk_ln", true}, {"alibi", true}}}},
                         {{"attn_config", {{"sliding_window_size", 512}, {"alibi", true}}}}})
    fault_of(changed(mpt(), change));
  EXPECT_TRUE(contains(fault_of(changed(mpt(), {{"attn_config", Json::object()}})),
                       "attn_config.alibi: is missing"));
}

// Every size that a file must state, and every way of getting one number wrong.
TEST(BadConfig, NamesTheKeyAndTheValueOfEachMalformedNumber) {
  const std::vector<std::pair<Json, std::vector<std::string>>> files{
      {llama(),
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "max_position_embeddings"}},
      {gpt2(), {"vocab_size", "n_embd", "n_head", "n_layer", "n_positions"}},
      {mpt(), {"vocab_size", "d_model", "n_heads", "n_layers", "max_seq_len"}}};
  const std::vector<std::string> values{"-4",
                                        "0",
                                        "4096.5",
                                        "\"4096\"",
                                        "1e20",
                                        "99999999999999999999",
                                        "true",
                                        "[1]",
                                        "{\"a\":1}",
                                        "1152921504606846976",
                                        "9223372036854775807",
                                        "-9223372036854775808"};
  for (const auto& [config, keys] : files) {
    for (const std::string& key : keys) {
      Json without = config;
      without.erase(key);
      EXPECT_TRUE(contains(fault_of(without), "config.json: " + key + ": is missing"));
      for (const std::string& value : values) {
        const std::string fault = fault_of(changed(config, {{key, Json::parse(value)}}));
        EXPECT_TRUE(contains(fault, "config.json: " + key + ": is ")) << value << "\n" << fault;
        EXPECT_TRUE(contains(fault, "; give a ")) << fault;
      }
    }
  }
}

TEST(BadConfig, TellsAllFaultsAtOnce) {
  const Errors errors = errors_of(changed(llama(), {{"hidden_size", "big"},
                                                    {"num_hidden_layers", -4},
                                                    {"num_key_value_heads", 5},
                                                    {"hidden_act", "relu"},
                                                    {"tie_word_embeddings", "no"},
                                                    {"attention_dropout", 1.5},
                                                    {"rms_norm_eps", 0},
                                                    {"num_local_experts", 8}})
                                      .dump());
  EXPECT_EQ(errors.size(), 8u) << to_string(errors);
  for (const std::string key :
       {"hidden_size", "num_hidden_layers", "num_key_value_heads", "hidden_act",
        "tie_word_embeddings", "attention_dropout", "rms_norm_eps", "num_local_experts"})
    EXPECT_TRUE(contains(to_string(errors), "config.json: " + key + ": is ")) << key;
}

TEST(BadConfig, HeadsMustFit) {
  EXPECT_EQ(fault_of(changed(llama(), {{"num_attention_heads", 30}})),
            "config.json: num_attention_heads: is 30, which does not divide hidden_size 4096; give "
            "a divisor of 4096, or state head_dim\n");
  shape_of(changed(llama(), {{"num_attention_heads", 30}, {"head_dim", 128}}));
  EXPECT_EQ(fault_of(changed(llama(), {{"num_key_value_heads", 5}})),
            "config.json: num_key_value_heads: is 5, which does not divide num_attention_heads 32; "
            "give a divisor of 32\n");
  EXPECT_TRUE(contains(fault_of(changed(llama(), {{"head_dim", 0}})), "head_dim: is 0"));
  EXPECT_TRUE(contains(fault_of(changed(llama(), {{"head_dim", 127}})), "heads of 127 elements"));
}

TEST(BadConfig, MixturesOfExpertsAreRefused) {
  for (const std::string key :
       {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"}) {
    EXPECT_TRUE(contains(fault_of(changed(llama(), {{key, 8}})),
                         "config.json: " + key + ": is 8: mixtures of experts are not modelled"));
    shape_of(changed(llama(), {{key, 1}}));
  }
}

TEST(BadConfig, UnknownFamiliesAreRefusedWithTheKnownOnes) {
  EXPECT_EQ(fault_of({{"model_type", "opt"}}),
            "config.json: model_type: is \"opt\", which is not supported; supported: llama, "
            "mistral, qwen2, qwen3, gpt2, gpt_neox, mpt\n");
  EXPECT_TRUE(contains(fault_of(Json::object()), "model_type: is missing; supported: llama"));
  EXPECT_TRUE(contains(fault_of({{"model_type", 7}}), "model_type: is 7"));
  EXPECT_TRUE(
      contains(fault_of({{"architectures", {"T5Model"}}}), "architectures: is \"T5Model\""));
  EXPECT_TRUE(
      contains(fault_of({{"architectures", {Json::object()}}}), "architectures: is an object"));
  EXPECT_TRUE(contains(fault_of(changed(llama(), {{"is_encoder_decoder", true}})),
                       "is_encoder_decoder: is true: only decoders are modelled"));
}

TEST(BadConfig, LongValuesAreCutInMessages) {
  const std::string fault = fault_of({{"model_type", std::string(1'000'000, 'x')}});
  EXPECT_LT(fault.size(), 300u);
}

TEST(BadConfig, TextThatIsNotJsonIsPlaced) {
  EXPECT_EQ(to_string(errors_of("{\n  \"vocab_size\" 8\n}")),
            "config.json: is not valid JSON: see line 2, column 16; name a Hugging Face "
            "config.json\n");
  for (const std::string_view text :
       {"", " ", "{", "not json", "{\"a\":}", "{} {}", "\xff\xfe{}", "{\"a\": \"\xc3\x28\"}"})
    EXPECT_TRUE(contains(to_string(errors_of(text)), "is not valid JSON")) << text;
  EXPECT_TRUE(contains(to_string(errors_of("{\"vocab_size\": 1e999}")),
                       "config.json: vocab_size: holds 1e999, beyond what a double"));
}

TEST(BadConfig, ValuesThatAreNotJsonAreNamedWithTheirKey) {
  EXPECT_EQ(to_string(errors_of("{\n  \"vocab_size\": NaN\n}")),
            "config.json: vocab_size: is NaN, which is not JSON: see line 2, column 17; write a "
            "number, true, false, null or a text in quotes\n");
  for (const std::string word : {"nan", "-Infinity", "None", "True", "012", "0x10", "1.", "bf16"}) {
    EXPECT_TRUE(contains(to_string(errors_of(R"({"a": {"b": 1}, "c": {"d": )" + word + "}}")),
                         "config.json: c.d: is " + word + ", which is not JSON: see column "))
        << word;
  }
  EXPECT_TRUE(contains(to_string(errors_of(R"({"a": 1, b: 2})")), "config.json: is not valid"));
}

// A file of two, cut together or half overwritten, must not plan the first.
TEST(BadConfig, NothingMayFollowTheObject) {
  const std::string nul(1, '\0'), config = llama().dump();
  for (const std::string& rest : {nul, nul + "garbage", "\n" + nul + "\n", nul + config}) {
    EXPECT_TRUE(contains(to_string(errors_of(config + rest)), "is not valid JSON: see "));
  }
  EXPECT_EQ(to_string(errors_of("{}\n" + nul + "x")),
            "config.json: is not valid JSON: see line 2, column 1; name a Hugging Face "
            "config.json\n");
  EXPECT_TRUE(parse_huggingface_config(config + " \r\n\t\n", "f"));
}

TEST(BadConfig, NoObjectStatesAKeyTwice) {
  const auto with = [](const std::string& more) {
    const std::string config = llama().dump();
    return config.substr(0, config.size() - 1) + "," + more + "}";
  };
  EXPECT_EQ(to_string(errors_of(with(R"("hidden_size": 8192)"))),
            "config.json: hidden_size: stands there twice; keep one of the two\n");
  EXPECT_EQ(to_string(errors_of(
                with(R"("x": [{"a": 1}, {"a": 2, "b": {"c": 1, "c": 1}}], "vocab_size": 32000)"))),
            "config.json: x.b.c: stands there twice; keep one of the two\n"
            "config.json: vocab_size: stands there twice; keep one of the two\n");
  EXPECT_TRUE(parse_huggingface_config(with(R"("x": [{"a": 1}, {"a": 2}], "a": {"a": 3})"), "f"));
  EXPECT_LT(to_string(errors_of(with("\"\\u001b" + std::string(1000, 'k') + "\": 1, \"\\u001b" +
                                     std::string(1000, 'k') + "\": 1")))
                .size(),
            200u);
}

TEST(BadConfig, TextThatIsNoObjectIsRefused) {
  EXPECT_TRUE(contains(to_string(errors_of("[1, 2]")), "holds a list instead of an object"));
  EXPECT_TRUE(contains(to_string(errors_of("3")), "holds 3 instead of an object"));
  EXPECT_TRUE(contains(to_string(errors_of("null")), "holds null instead of an object"));
}

// Deep nesting must exhaust no stack, wherever it stands: parsing, messages, destruction.
TEST(BadConfig, DeepNestingDoesNotCrash) {
  constexpr std::size_t depth = 200'000;
  const std::string open(depth, '['), close(depth, ']');
  EXPECT_TRUE(contains(to_string(errors_of(open)), "is not valid JSON"));
  EXPECT_TRUE(contains(to_string(errors_of(open + close)), "a list instead of an object"));
  std::string text = llama().dump();
  text.back() = ',';
  const auto ignored = parse_huggingface_config(text + "\"x\":" + open + close + "}", "f");
  EXPECT_TRUE(ignored);
  for (const std::string key : {"vocab_size", "rope_parameters", "layer_types", "model_type"})
    EXPECT_FALSE(parse_huggingface_config(text + "\"" + key + "\":" + open + close + "}", "f"))
        << key;
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  errors_of(objects);
}

}  // namespace
}  // namespace kumihimo
