#include "engine/huggingface_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/run_identity.hpp"
#include "model/huggingface_config.hpp"
#include "support/small_models.hpp"

namespace kumihimo {
namespace {

using ::testing::HasSubstr;
using testing::small_gpt;
using testing::small_llama;
using testing::small_options;

/// Compares all that a run's identity has of a model, which is everything but its name and dropout.
void expect_read_back(const TransformerShape& model, const std::string& architecture) {
  SCOPED_TRACE(model.name);
  const std::optional<std::string> text = huggingface_config(model, DType::bf16);
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, HasSubstr('"' + architecture + '"'));
  const Expected<TransformerShape> read = parse_huggingface_config(*text, "config.json");
  ASSERT_TRUE(read) << to_string(read.errors());
  EXPECT_EQ(run_identity(small_options(*read, ""), ""), run_identity(small_options(model, ""), ""));
  EXPECT_EQ(read->dropout, model.dropout);
}

TEST(HuggingfaceFiles, ConfigsReadBackToTheSameShape) {
  TransformerShape model = small_llama();
  expect_read_back(model, "LlamaForCausalLM");
  model.tied_embeddings = model.dropout = true;
  model.rope_theta = 5e5;
  model.norm_epsilon = 1e-6;
  model.head_dim = 16;
  model.mlp_bias = true;
  expect_read_back(model, "LlamaForCausalLM");
  model.qkv_bias = model.output_bias = true;
  expect_read_back(model, "LlamaForCausalLM");
  model.output_bias = model.mlp_bias = false;
  expect_read_back(model, "Qwen2ForCausalLM");
  expect_read_back(small_gpt(), "GPT2LMHeadModel");
}

TEST(HuggingfaceFiles, AShapeOfNoFamilyHasNoConfig) {
  TransformerShape model = small_llama();
  model.output_bias = true;
  EXPECT_FALSE(huggingface_config(model, DType::fp32));
  model = small_gpt();
  model.positions = Positions::rotary;
  EXPECT_FALSE(huggingface_config(model, DType::fp32));
}

TEST(HuggingfaceFiles, TensorsOfTheWholeModelWhateverTheLayout) {
  const auto names = [](const TrainingOptions& options) {
    std::vector<std::string> all;
    for (const StoredTensor& tensor : model_tensors(options)) all.push_back(tensor.name);
    return all;
  };
  for (const TransformerShape& model : {small_llama(), small_gpt()}) {
    EXPECT_EQ(names(small_options(model, "tp=4 pp=2 schedule=interleaved vpp=2")),
              names(small_options(model, "")));
  }
  // Of each layer: 2 norms, 4 linears, weight and bias each; without layers: table, positions,
  // final norm's two.
  EXPECT_EQ(names(small_options(small_gpt(), "")).size(), 4u * 12 + 4);
  // Of each layer: 2 norms, 7 matrices; table, final norm, head.
  EXPECT_EQ(names(small_options(small_llama(), "")).size(), 4u * 9 + 3);
}

}  // namespace
}  // namespace kumihimo
