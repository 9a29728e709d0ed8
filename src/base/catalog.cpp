#include "base/catalog.hpp"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <optional>
#include <set>
#include <system_error>

#include "base/embedded_catalog.hpp"
#include "base/files.hpp"
#include "base/suggest.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t largest_catalog_file = 4 << 20;

struct KindRule {
  std::string_view folder;
  std::string_view extension;
  std::string_view noun;
};

KindRule rule_of(CatalogKind kind) {
  switch (kind) {
    case CatalogKind::models: return {"models", ".json", "model"};
    case CatalogKind::clusters: return {"clusters", ".toml", "cluster"};
    case CatalogKind::stacks: return {"stacks", ".toml", "stack"};
    case CatalogKind::texts: return {"texts", ".txt", "text"};
    case CatalogKind::upgrades: return {"upgrades", ".toml", "file of upgrades"};
  }
  KUMIHIMO_CHECK(false);
}

/// The catalog on disk that belongs to this program, if there is one.
std::optional<fs::path> catalog_folder() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return std::nullopt;
  const fs::path prefix = program.parent_path().parent_path();
  const fs::path installed = prefix / "share/kumihimo/catalog";
  if (fs::is_directory(installed, error)) return installed;
  // Any folder may be called catalog; only a source tree has both.
  const fs::path source = prefix / "catalog";
  if (fs::is_directory(source / "models", error) && fs::exists(prefix / "CMakeLists.txt", error) &&
      fs::exists(prefix / "src/base/catalog.cpp", error)) {
    return source;
  }
  return std::nullopt;
}

std::set<std::string> names_on_disk(CatalogKind kind) {
  std::set<std::string> names;
  const std::optional<fs::path> folder = catalog_folder();
  if (!folder) return names;
  const KindRule rule = rule_of(kind);
  std::error_code error;
  for (fs::directory_iterator entry(*folder / rule.folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path& path = entry->path();
    std::error_code ignored;
    if (path.extension() == rule.extension && entry->is_regular_file(ignored)) {
      names.insert(path.stem().string());
    }
  }
  return names;
}

const EmbeddedFile* find_embedded(CatalogKind kind, std::string_view name) {
  const std::vector<EmbeddedFile>& files = embedded_catalog();
  const auto found = std::find_if(files.begin(), files.end(), [&](const EmbeddedFile& file) {
    return file.kind == kind && file.name == name;
  });
  return found == files.end() ? nullptr : &*found;
}

}  // namespace

std::vector<std::string> catalog_names(CatalogKind kind) {
  std::set<std::string> names = names_on_disk(kind);
  for (const EmbeddedFile& file : embedded_catalog()) {
    if (file.kind == kind) names.emplace(file.name);
  }
  return {names.begin(), names.end()};
}

Expected<CatalogFile> find_in_catalog(CatalogKind kind, std::string_view name) {
  const KindRule rule = rule_of(kind);
  // Looking the name up in the listing keeps one like "../../x" from leaving the catalog.
  const std::string wanted(name);
  if (names_on_disk(kind).contains(wanted)) {
    const fs::path path = *catalog_folder() / rule.folder / (wanted + std::string(rule.extension));
    Expected<std::string> text = read_file(path, largest_catalog_file);
    if (!text) return text.errors();
    return CatalogFile{wanted, *std::move(text), path.string()};
  }
  if (const EmbeddedFile* file = find_embedded(kind, name)) {
    return CatalogFile{wanted, std::string(file->text), "built in"};
  }
  std::error_code ignored;
  const bool is_folder = fs::is_directory(fs::path(name), ignored);
  return Error{fmt::format("{} \"{}\"", rule.noun, name.substr(0, 60)),
               is_folder ? "is a folder, and not in the catalog" : "is not in the catalog",
               suggest(name, catalog_names(kind))};
}

}  // namespace kumihimo
