#include "model/model_catalog.hpp"

#include <filesystem>
#include <fmt/format.h>
#include <string>
#include <system_error>

#include "base/catalog.hpp"
#include "base/files.hpp"
#include "base/shown_text.hpp"
#include "model/huggingface_config.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_config_bytes = 4 * 1024 * 1024;

Expected<TransformerShape> read_config_file(fs::path path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    const fs::path inside = path / "config.json";
    if (!fs::exists(inside, ignored))
      return Error{path.string(), "is a folder without a config.json",
                   "name the model's config.json, or a folder that holds it"};
    path = inside;
  }
  const Expected<std::string> text = read_file(path, max_config_bytes);
  if (!text) return text.errors();
  Expected<TransformerShape> shape = parse_huggingface_config(*text, path.string());
  if (shape) {
    const fs::path named = path.filename() == "config.json"
                               ? fs::absolute(path, ignored).lexically_normal().parent_path()
                               : path.stem();
    const std::string name = named.filename().string();
    if (!name.empty()) shape->name = shown(name, name.size());
  }
  return shape;
}

}  // namespace

Expected<TransformerShape> read_model(std::string_view name_or_path) {
  const fs::path path(name_or_path);
  std::error_code ignored;
  if (name_or_path.find('/') != std::string_view::npos || name_or_path.ends_with(".json") ||
      fs::is_regular_file(path, ignored))
    return read_config_file(path);

  const Expected<CatalogFile> found = find_in_catalog(CatalogKind::models, name_or_path);
  if (!found && fs::is_directory(path, ignored)) return read_config_file(path);
  if (!found) return found.errors();
  Expected<TransformerShape> shape =
      parse_huggingface_config(found->text, fmt::format("{} ({})", found->name, found->origin));
  if (shape) shape->name = found->name;
  return shape;
}

Expected<TransformerShape> apply_overrides(TransformerShape shape,
                                           const ModelOverrides& overrides) {
  const bool head_dim_follows = shape.hidden == shape.heads * shape.head_dim;
  const bool kv_heads_follow = shape.kv_heads == shape.heads;

  shape.vocab = overrides.vocab.value_or(shape.vocab);
  shape.layers = overrides.layers.value_or(shape.layers);
  shape.hidden = overrides.hidden.value_or(shape.hidden);
  shape.heads = overrides.heads.value_or(shape.heads);
  shape.ffn_hidden = overrides.ffn_hidden.value_or(shape.ffn_hidden);
  shape.tied_embeddings = overrides.tied.value_or(shape.tied_embeddings);
  shape.kv_heads = overrides.kv_heads.value_or(kv_heads_follow ? shape.heads : shape.kv_heads);
  if (overrides.head_dim) {
    shape.head_dim = *overrides.head_dim;
  } else if (head_dim_follows && (overrides.hidden || overrides.heads)) {
    shape.head_dim = split_hidden(shape.hidden, shape.heads);
  }

  Errors faults = validate(shape, "", override_flags);
  if (!faults.empty()) return faults;
  return shape;
}

}  // namespace kumihimo
