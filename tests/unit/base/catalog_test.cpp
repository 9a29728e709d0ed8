#include "base/catalog.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <iterator>

#include "base/embedded_catalog.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr CatalogKind all_kinds[] = {CatalogKind::models, CatalogKind::clusters,
                                     CatalogKind::stacks, CatalogKind::texts,
                                     CatalogKind::upgrades};

fs::path source_path(const EmbeddedFile& file) {
  const fs::path catalog = fs::path(KUMIHIMO_SOURCE_DIR) / "catalog";
  const std::string name(file.name);
  switch (file.kind) {
    case CatalogKind::models: return catalog / "models" / (name + ".json");
    case CatalogKind::clusters: return catalog / "clusters" / (name + ".toml");
    case CatalogKind::stacks: return catalog / "stacks" / (name + ".toml");
    case CatalogKind::texts: return catalog / "texts" / (name + ".txt");
    case CatalogKind::upgrades: return catalog / "upgrades" / (name + ".toml");
  }
  return {};
}

TEST(EmbeddedCatalog, EveryFileIsTheSourceToTheByte) {
  for (const EmbeddedFile& file : embedded_catalog()) {
    std::ifstream stream(source_path(file), std::ios::binary);
    ASSERT_TRUE(stream) << source_path(file);
    const std::string expected{std::istreambuf_iterator<char>(stream), {}};
    EXPECT_EQ(file.text, expected) << source_path(file);
  }
}

TEST(EmbeddedCatalog, HoldsEveryFileOfTheSourceTree) {
  std::size_t count = 0;
  for (const char* kind : {"models", "clusters", "stacks", "texts", "upgrades"}) {
    const fs::path folder = fs::path(KUMIHIMO_SOURCE_DIR) / "catalog" / kind;
    if (!fs::is_directory(folder)) continue;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      const fs::path extension = entry.path().extension();
      count += extension == ".json" || extension == ".toml" || extension == ".txt" ? 1 : 0;
    }
  }
  EXPECT_EQ(embedded_catalog().size(), count);
}

TEST(Catalog, NamesAreSortedUniqueAndAllFound) {
  for (const CatalogKind kind : all_kinds) {
    const std::vector<std::string> names = catalog_names(kind);
    EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
    EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
    for (const std::string& name : names) {
      const Expected<CatalogFile> file = find_in_catalog(kind, name);
      ASSERT_TRUE(file.has_value()) << name;
      EXPECT_EQ(file->name, name);
      EXPECT_FALSE(file->text.empty()) << name;
      EXPECT_FALSE(file->origin.empty()) << name;
    }
  }
}

TEST(Catalog, AnUnknownNameGetsTheNearestKnownOne) {
  const std::vector<std::string> names = catalog_names(CatalogKind::models);
  if (names.empty()) GTEST_SKIP() << "the catalog has no models";
  const Expected<CatalogFile> file = find_in_catalog(CatalogKind::models, names.front() + "x");
  ASSERT_FALSE(file.has_value());
  const std::string message = to_string(file.errors());
  EXPECT_THAT(message, HasSubstr("model \"" + names.front() + "x\": is not in the catalog"));
  EXPECT_THAT(message, HasSubstr("did you mean \"" + names.front() + "\"?"));
}

TEST(Catalog, ANameCannotLeaveTheCatalog) {
  for (const char* name : {"../clusters/x", "..", "/etc/passwd", "", "models/llama-7b"}) {
    EXPECT_FALSE(find_in_catalog(CatalogKind::models, name).has_value()) << name;
  }
}

TEST(Catalog, AFolderIsCalledOne) {
  const auto found = find_in_catalog(CatalogKind::clusters, ".");
  ASSERT_FALSE(found);
  EXPECT_THAT(to_string(found.errors()),
              HasSubstr("cluster \".\": is a folder, and not in the catalog"));
}

}  // namespace
}  // namespace kumihimo
