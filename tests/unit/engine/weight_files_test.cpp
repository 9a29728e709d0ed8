#include "engine/weight_files.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/huggingface_files.hpp"
#include "support/in_folder.hpp"
#include "support/resumed_runs.hpp"
#include "support/small_models.hpp"
#include "tensor/float_formats.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::follow;
using ::testing::HasSubstr;
using testing::Outcome;
using testing::small_gpt;
using testing::small_llama;
using testing::small_options;

/// Element i of a stored tensor: small whole multiples of 2^-8, which every format holds exactly.
float value_at(std::size_t tensor, std::int64_t i) {
  return static_cast<float>((static_cast<std::int64_t>(tensor) * 31 + i * 7) % 97 - 48) / 256.0f;
}

/// Of a normal number or zero, exactly.
std::uint16_t to_fp16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  if (value == 0) return static_cast<std::uint16_t>(sign);
  const std::uint32_t exponent = ((bits >> 23) & 0xffu) - 127 + 15;
  return static_cast<std::uint16_t>(sign | exponent << 10 | ((bits >> 13) & 0x3ffu));
}

class WeightFiles : public InFolder {
 protected:
  /// Writes tensors whose values value_at gives by their place in the whole list.
  void write(const std::string& name, std::vector<StoredTensor> tensors, std::size_t first = 0) {
    const PlannedSafetensors planned = plan_safetensors(std::move(tensors), {});
    std::string bytes = planned.preamble;
    for (std::size_t t = 0; t < planned.header.tensors.size(); ++t) {
      const StoredTensor& tensor = planned.header.tensors[t];
      const std::int64_t size = tensor.dtype == "F32" ? 4 : 2;
      for (std::int64_t i = 0; i < tensor.bytes / size; ++i) {
        const float value = value_at(first + t, i);
        if (tensor.dtype == "F32") {
          bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
        } else {
          const std::uint16_t code = tensor.dtype == "BF16" ? to_bf16(value) : to_fp16(value);
          bytes.append(reinterpret_cast<const char*>(&code), sizeof code);
        }
      }
    }
    put(folder_ / name, bytes);
  }

  std::vector<StoredTensor> tensors_as(const std::string& dtype) const {
    std::vector<StoredTensor> tensors = model_tensors(options_);
    for (StoredTensor& tensor : tensors) tensor.dtype = dtype;
    return tensors;
  }

  TrainingOptions options_ = small_options(small_llama(), "");
};

TEST_F(WeightFiles, EveryFormatGivesTheSameRun) {
  std::optional<Outcome> first;
  for (const char* dtype : {"F32", "BF16", "F16"}) {
    write("model.safetensors", tensors_as(dtype));
    const Outcome run = follow(options_, {.init_from = folder_, .end = 2});
    if (!first) first = run;
    EXPECT_EQ(run.losses, first->losses) << dtype;
    EXPECT_EQ(run.states, first->states) << dtype;
  }
  EXPECT_NE(first->losses, follow(options_, {.end = 2}).losses);
}

TEST_F(WeightFiles, EveryElementComesToItsPlaceInAnyLayout) {
  for (const TransformerShape& model : {small_llama(), small_gpt()}) {
    options_ = small_options(model, "");
    write("model.safetensors", tensors_as("F32"));
    const Outcome one = follow(options_, {.init_from = folder_});
    const std::vector<StoredTensor> tensors = model_tensors(options_);
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      const auto found = one.states.find(tensors[t].name + ".0");
      if (found == one.states.end()) continue;  // GPT-2's own names: next test
      for (std::size_t i = 0; i < found->second.size(); ++i) {
        ASSERT_EQ(found->second[i], value_at(t, static_cast<std::int64_t>(i))) << tensors[t].name;
      }
    }
    for (const char* layout : {"tp=2 pp=2", "tp=4 dp=2 zero=3", "pp=2 dp=4 zero=1"}) {
      EXPECT_EQ(follow(small_options(model, layout), {.init_from = folder_}).states, one.states);
    }
  }
}

/// GPT-2 stores [in, out], and queries, keys and values side by side: [32, 96] for hidden 32.
TEST_F(WeightFiles, Gpt2MatricesAreTransposed) {
  options_ = small_options(small_gpt(), "");
  const std::vector<StoredTensor> tensors = tensors_as("F32");
  write("model.safetensors", tensors);
  const Outcome run = follow(options_, {.init_from = folder_});
  const auto index_of = [&](const std::string& name) {
    return static_cast<std::size_t>(std::ranges::find(tensors, name, &StoredTensor::name) -
                                    tensors.begin());
  };
  const std::size_t qkv = index_of("transformer.h.1.attn.c_attn.weight");
  ASSERT_LT(qkv, tensors.size());
  EXPECT_EQ(tensors[qkv].shape, (std::vector<std::int64_t>{32, 96}));
  const std::vector<float>& keys = run.states.at("model.layers.1.self_attn.k_proj.weight.0");
  // Row 5, column 3 of the keys: input 3, output 32 + 5 of the file.
  EXPECT_EQ(keys[5 * 32 + 3], value_at(qkv, 3 * 96 + 32 + 5));
  const std::size_t down = index_of("transformer.h.2.mlp.c_proj.weight");
  EXPECT_EQ(tensors[down].shape, (std::vector<std::int64_t>{48, 32}));
  EXPECT_EQ(run.states.at("model.layers.2.mlp.down_proj.weight.0")[7 * 48 + 11],
            value_at(down, 11 * 32 + 7));
  EXPECT_EQ(run.states.at("model.layers.3.self_attn.v_proj.bias.0")[2],
            value_at(index_of("transformer.h.3.attn.c_attn.bias"), 64 + 2));
}

TEST_F(WeightFiles, Gpt2NamesMayLackTheirPrefixAndOldConstantsAreIgnored) {
  options_ = small_options(small_gpt(), "");
  write("model.safetensors", tensors_as("F32"));
  const Outcome prefixed = follow(options_, {.init_from = folder_});
  std::vector<StoredTensor> tensors = tensors_as("F32");
  for (StoredTensor& tensor : tensors) tensor.name.erase(0, std::string("transformer.").size());
  tensors.push_back({.name = "h.0.attn.bias", .dtype = "F32", .shape = {1, 1, 64, 64}});
  tensors.push_back({.name = "lm_head.weight", .dtype = "F32", .shape = {50, 32}});
  write("model.safetensors", tensors);
  EXPECT_EQ(follow(options_, {.init_from = folder_}).states, prefixed.states);
}

TEST_F(WeightFiles, SeveralFilesAreFoundByTheirIndex) {
  write("model.safetensors", tensors_as("F32"));
  const Outcome one = follow(options_, {.init_from = folder_});
  fs::remove(folder_ / "model.safetensors");

  const std::vector<StoredTensor> tensors = tensors_as("F32");
  const auto middle = tensors.begin() + 7;
  write("model-00001-of-00002.safetensors", {tensors.begin(), middle});
  write("model-00002-of-00002.safetensors", {middle, tensors.end()}, 7);
  put(folder_ / "model.safetensors.index.json",
      R"({"weight_map": {"a": "model-00001-of-00002.safetensors",
                         "b": "model-00002-of-00002.safetensors"}})");
  EXPECT_EQ(follow(options_, {.init_from = folder_}).states, one.states);

  fs::remove(folder_ / "model-00002-of-00002.safetensors");
  EXPECT_THAT(message(inspect_weights(folder_, options_)),
              HasSubstr("model-00002-of-00002.safetensors: cannot be read"));
  put(folder_ / "model.safetensors.index.json", R"({"weight_map": {"a": "../elsewhere"}})");
  EXPECT_THAT(message(inspect_weights(folder_, options_)), HasSubstr("not in its own folder"));
  put(folder_ / "model.safetensors.index.json",
      R"({"weight_map": {"a": "one.safetensors", "a": "two.safetensors"}})");
  EXPECT_THAT(message(inspect_weights(folder_, options_)),
              HasSubstr("weight_map.a: stands there twice"));
  put(folder_ / "model.safetensors.index.json", "[]");
  EXPECT_THAT(message(inspect_weights(folder_, options_)), HasSubstr("lacks a weight_map"));
}

TEST_F(WeightFiles, EveryUnfitTensorIsNamed) {
  std::vector<StoredTensor> tensors = tensors_as("F32");
  tensors[0].shape = {51, 32};
  tensors[1].name = "model.layers.0.surplus.weight";
  tensors[2].dtype = "I16";
  write("model.safetensors", tensors);
  const std::string text = message(inspect_weights(folder_, options_));
  EXPECT_THAT(
      text, AllOf(HasSubstr("tensor model.embed_tokens.weight: has shape [51, 32]; the model's is "
                            "[50, 32]"),
                  HasSubstr("tensor model.layers.0.input_layernorm.weight: is missing; the model "
                            "has it with shape [32]"),
                  HasSubstr("post_attention_layernorm.weight: is of dtype I16"),
                  HasSubstr("model.layers.0.surplus.weight: of shape [32] is no weight")));
}

TEST_F(WeightFiles, AHeadThatIsMissingOrTiedIsExplained) {
  std::vector<StoredTensor> tensors = tensors_as("F32");
  ASSERT_EQ(tensors.back().name, "lm_head.weight");
  tensors.pop_back();
  write("model.safetensors", tensors);
  EXPECT_THAT(message(inspect_weights(folder_, options_)),
              AllOf(HasSubstr("tensor lm_head.weight: is missing"),
                    HasSubstr("give a model whose embeddings are tied")));
  options_.job.model.tied_embeddings = true;
  EXPECT_TRUE(inspect_weights(folder_, options_));
}

TEST_F(WeightFiles, AnotherModelHasAFaultForTheFirstTensorsAndACount) {
  write("model.safetensors", tensors_as("F32"));
  options_.job.model.hidden = 64;
  const Expected<TensorFiles> files = inspect_weights(folder_, options_);
  ASSERT_FALSE(files);
  EXPECT_EQ(files.errors().size(), 11u);
  // Of 4 layers with 9 tensors, table, final norm and head.
  EXPECT_THAT(to_string(files.errors()), HasSubstr("has 29 more such tensors"));
}

TEST_F(WeightFiles, AFolderOfStatesIsRefusedWithTheNewestOne) {
  follow(options_, {.save = folder_});
  EXPECT_THAT(message(inspect_weights(folder_, options_)),
              AllOf(HasSubstr("holds neither model.safetensors nor"),
                    HasSubstr(state_path(folder_, 0).string())));
  EXPECT_TRUE(inspect_weights(state_path(folder_, 0), options_));
}

}  // namespace
}  // namespace kumihimo
