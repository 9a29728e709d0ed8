#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <limits>
#include <optional>
#include <string>
#include <unistd.h>

#include "base/catalog.hpp"
#include "model/model_catalog.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view tiny_config =
    R"({"model_type": "llama", "vocab_size": 256, "hidden_size": 256, "intermediate_size": 688,
        "num_hidden_layers": 4, "num_attention_heads": 4, "max_position_embeddings": 1024})";

/// A folder of the test's own, removed with it.
class ModelFiles : public testing::Test {
 protected:
  ModelFiles() {
    std::string pattern = (fs::temp_directory_path() / "kumihimo-model-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~ModelFiles() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  fs::path write(const fs::path& name, std::string_view text) const {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path;
  }

  fs::path folder_;
};

std::string faults_of(std::string_view name) {
  const auto shape = read_model(name);
  EXPECT_FALSE(shape);
  return shape ? "" : to_string(shape.errors());
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(ModelCatalog, EveryModelReadsAndNamesItsSource) {
  const auto names = catalog_names(CatalogKind::models);
  EXPECT_GE(names.size(), 26u);
  for (const std::string& name : names) {
    const auto shape = read_model(name);
    ASSERT_TRUE(shape) << to_string(shape.errors());
    EXPECT_EQ(shape->name, name);
    EXPECT_TRUE(contains(find_in_catalog(CatalogKind::models, name)->text, "\"_source\": \""))
        << name;
  }
}

TEST(ModelCatalog, AnUnknownNameGetsTheNearest) {
  const std::string faults = faults_of("lama-13b");
  EXPECT_TRUE(contains(faults, "lama-13b")) << faults;
  EXPECT_TRUE(contains(faults, "did you mean \"llama-13b\"?")) << faults;
  faults_of("");
  faults_of(std::string(100'000, 'x'));
}

TEST_F(ModelFiles, AFileOrItsFolderIsRead) {
  const fs::path file = write("mine/config.json", tiny_config);
  for (const std::string& path :
       {file.string(), (folder_ / "mine").string(), (folder_ / "mine/").string()}) {
    const auto shape = read_model(path);
    ASSERT_TRUE(shape) << to_string(shape.errors());
    EXPECT_EQ(shape->name, "mine");
    EXPECT_EQ(shape->ffn_hidden, 688);
  }
  EXPECT_EQ(read_model(write("small-llama.json", tiny_config).string())->name, "small-llama");
  EXPECT_EQ(read_model(write("a\x1b[31mb.json", tiny_config).string())->name, "a?[31mb");
}

TEST_F(ModelFiles, FaultsNameTheFile) {
  const fs::path file = write("bad/config.json", R"({"model_type": "opt"})");
  EXPECT_TRUE(contains(faults_of(file.string()), file.string() + ": model_type: is \"opt\""));
}

TEST_F(ModelFiles, WhatCannotBeReadIsRefused) {
  EXPECT_TRUE(contains(faults_of(folder_.string()), "is a folder without a config.json"));
  EXPECT_TRUE(contains(faults_of((folder_ / "absent.json").string()), "absent.json"));
  EXPECT_TRUE(contains(faults_of("absent.json"), "absent.json"));
  faults_of("/dev/zero");
  fs::create_directories(folder_ / "odd" / "config.json");
  faults_of((folder_ / "odd").string());
}

TEST_F(ModelFiles, AFileOfMoreThanFourMebibytesIsRefused) {
  std::string text(4 * 1024 * 1024 + 1, ' ');
  text.replace(0, tiny_config.size(), tiny_config);
  EXPECT_TRUE(contains(faults_of(write("big.json", text).string()), "big.json"));
  text.pop_back();
  EXPECT_TRUE(read_model(write("fits.json", text).string()));
}

TransformerShape named(std::string_view name) { return *read_model(name); }

TEST(ModelOverridesTest, ChangeWhatIsGiven) {
  ModelOverrides overrides;
  overrides.vocab = 128000;
  overrides.layers = 8;
  overrides.ffn_hidden = 1000;
  overrides.tied = true;
  const auto shape = apply_overrides(named("llama-13b"), overrides);
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->vocab, 128000);
  EXPECT_EQ(shape->layers, 8);
  EXPECT_EQ(shape->ffn_hidden, 1000);
  EXPECT_TRUE(shape->tied_embeddings);
  EXPECT_EQ(shape->hidden, 5120);
  EXPECT_EQ(shape->name, "llama-13b");
}

TEST(ModelOverridesTest, HeadsKeepTheirProportions) {
  ModelOverrides overrides;
  overrides.heads = 20;
  const auto full = apply_overrides(named("llama-13b"), overrides);
  ASSERT_TRUE(full);
  EXPECT_EQ(full->kv_heads, 20);
  EXPECT_EQ(full->head_dim, 5120 / 20);
  overrides.heads = 32;
  const auto grouped = apply_overrides(named("llama-2-70b"), overrides);
  ASSERT_TRUE(grouped);
  EXPECT_EQ(grouped->kv_heads, 8);
  // 64 heads of 128 never were 5120 / 64.
  const auto wide = apply_overrides(named("qwen3-32b"), overrides);
  ASSERT_TRUE(wide);
  EXPECT_EQ(wide->head_dim, 128);
}

TEST(ModelOverridesTest, FaultsNameTheFlags) {
  ModelOverrides overrides;
  overrides.vocab = -1;
  overrides.heads = 12;
  overrides.layers = std::int64_t{1} << 62;
  overrides.hidden = 100;
  const auto shape = apply_overrides(named("llama-2-70b"), overrides);
  ASSERT_FALSE(shape);
  const std::string faults = to_string(shape.errors());
  EXPECT_TRUE(contains(faults, "--vocab-size: is -1")) << faults;
  EXPECT_TRUE(contains(faults, "--layers: is 4611686018427387904")) << faults;
  EXPECT_TRUE(contains(faults, "--heads: is 12, which does not divide --hidden 100")) << faults;
  EXPECT_TRUE(contains(faults, "--kv-heads: is 8, which does not divide --heads 12")) << faults;
  EXPECT_EQ(shape.errors().size(), 4u);
}

TEST(ModelOverridesTest, NoValueIsTooOdd) {
  for (const std::int64_t odd : {std::numeric_limits<std::int64_t>::min(), std::int64_t{-1},
                                 std::int64_t{0}, std::numeric_limits<std::int64_t>::max()}) {
    for (std::optional<std::int64_t> ModelOverrides::*field :
         {&ModelOverrides::vocab, &ModelOverrides::layers, &ModelOverrides::hidden,
          &ModelOverrides::heads, &ModelOverrides::kv_heads, &ModelOverrides::ffn_hidden,
          &ModelOverrides::head_dim}) {
      ModelOverrides overrides;
      overrides.*field = odd;
      EXPECT_FALSE(apply_overrides(named("llama-7b"), overrides)) << odd;
    }
  }
}

}  // namespace
}  // namespace kumihimo
