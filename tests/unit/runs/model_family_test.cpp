#include "runs/model_family.hpp"

#include <gtest/gtest.h>

namespace kumihimo {
namespace {

TransformerShape shape_of(const char* name, std::int64_t ffn_hidden = 5504) {
  TransformerShape shape;
  shape.name = name;
  shape.hidden = 2048;
  shape.ffn_hidden = ffn_hidden;
  std::vector<std::string> assumptions;
  apply_family_facts(shape, assumptions);
  return shape;
}

TEST(ModelFamily, KnowsNames) {
  for (const char* name : {"LLaMA-13B", "Llama 3.1 8B", "llama2_7b", "InternLM-7B", "Qwen2.5-7B",
                           "LLAMA3_70B", "Llama-like 8B"})
    EXPECT_EQ(model_family(name), ModelFamily::llama) << name;
  for (const char* name : {"GPT 1.3B", "GPT-3 175B", "MT-NLG 530B", "GPT h1024 l24"})
    EXPECT_EQ(model_family(name), ModelFamily::gpt) << name;
  EXPECT_EQ(model_family("MPT-7b"), ModelFamily::mpt);
  for (const char* name : {"qwen1.5_MoE", "Qwen3_30B_a3B", "Qwen3_235B_a22B (tokendrop)",
                           "GPT OSS 120B", "Mixtral-8x7B"})
    EXPECT_EQ(model_family(name), ModelFamily::mixture_of_experts) << name;
  for (const char* name : {"22B", "1T", ""})
    EXPECT_EQ(model_family(name), ModelFamily::unknown) << name;
}

TEST(ModelFamily, UsualVocabulariesAreTheirTokenizers) {
  const auto vocab_of = [](const char* name, std::int64_t ffn_hidden = 5504) {
    return usual_vocab(shape_of(name, ffn_hidden));
  };
  EXPECT_EQ(vocab_of("LLaMA-13B"), 32000);
  EXPECT_EQ(vocab_of("llama2_7b"), 32000);
  EXPECT_EQ(vocab_of("LLAMA3_70B"), 128256);
  EXPECT_EQ(vocab_of("Llama 3.1 8B"), 128256);
  EXPECT_EQ(vocab_of("Qwen2.5-3B"), 151936);
  EXPECT_EQ(vocab_of("InternLM-7B"), 103168);
  EXPECT_EQ(vocab_of("MPT-7b", 8192), 50368);
  EXPECT_EQ(vocab_of("GPT 1.5B", 8192), 50257);
  EXPECT_EQ(vocab_of("22B", 8192), 50257) << "by its ffn_hidden";
  EXPECT_EQ(vocab_of("ours"), 32000);
}

TEST(ModelFamily, LlamaIsGatedWithoutBiases) {
  const TransformerShape shape = shape_of("LLaMA-7B");
  EXPECT_EQ(shape.activation, Activation::swiglu);
  EXPECT_EQ(shape.norm, NormKind::rms_norm);
  EXPECT_EQ(shape.positions, Positions::rotary);
  EXPECT_FALSE(shape.tied_embeddings || shape.qkv_bias || shape.output_bias || shape.mlp_bias ||
               shape.dropout || shape.norm_bias || shape.qk_norm);
}

TEST(ModelFamily, GptHasBiasesDropoutAndATiedHead) {
  const TransformerShape shape = shape_of("GPT 1B", 8192);
  EXPECT_EQ(shape.activation, Activation::gelu);
  EXPECT_EQ(shape.norm, NormKind::layer_norm);
  EXPECT_EQ(shape.positions, Positions::learned);
  EXPECT_TRUE(shape.tied_embeddings && shape.qkv_bias && shape.output_bias && shape.mlp_bias &&
              shape.dropout && shape.norm_bias);
}

TEST(ModelFamily, MptIsAGptWithoutDropout) {
  const TransformerShape shape = shape_of("MPT-1b", 8192);
  EXPECT_EQ(shape.activation, Activation::gelu);
  EXPECT_TRUE(shape.tied_embeddings && shape.qkv_bias);
  EXPECT_FALSE(shape.dropout);
}

TEST(ModelFamily, QwenHasItsOwnBiasesAndTiesItsSmallModels) {
  EXPECT_TRUE(shape_of("Qwen2.5-3B").qkv_bias);
  EXPECT_TRUE(shape_of("Qwen2.5-3B").tied_embeddings);
  EXPECT_TRUE(shape_of("Qwen2.5-0.5B").tied_embeddings);
  EXPECT_FALSE(shape_of("Qwen2.5-7B").tied_embeddings);
  EXPECT_TRUE(shape_of("Qwen3-4B").qk_norm);
  EXPECT_FALSE(shape_of("Qwen3-4B").qkv_bias);
  EXPECT_EQ(shape_of("Qwen3-4B").head_dim, 128);
}

TEST(ModelFamily, OtherLlamas) {
  EXPECT_TRUE(shape_of("Llama-like 1B").tied_embeddings);
  EXPECT_FALSE(shape_of("Llama-like 8B").tied_embeddings);
  EXPECT_TRUE(shape_of("Llama 3.2 3B").tied_embeddings);
  EXPECT_FALSE(shape_of("Llama 3.1 8B").tied_embeddings);
  EXPECT_TRUE(shape_of("InternLM-7B").qkv_bias);
  EXPECT_FALSE(shape_of("InternLM2-7B").qkv_bias);
}

TEST(ModelFamily, JudgesUnknownNamesByTheFfnAndSaysSo) {
  TransformerShape shape;
  shape.name = "22B";
  shape.hidden = 6144;
  shape.ffn_hidden = 4 * 6144;
  std::vector<std::string> assumptions;
  apply_family_facts(shape, assumptions);
  EXPECT_EQ(shape.activation, Activation::gelu);
  shape.ffn_hidden = 16384;
  apply_family_facts(shape, assumptions);
  EXPECT_EQ(shape.activation, Activation::swiglu);
  EXPECT_EQ(assumptions,
            (std::vector<std::string>{
                "model \"22B\" is not known: read as GPT-like, for ffn_hidden 24576 is 4 x hidden",
                "model \"22B\" is not known: read as Llama-like, for ffn_hidden 16384 is not 4 x "
                "hidden"}));
}

}  // namespace
}  // namespace kumihimo
