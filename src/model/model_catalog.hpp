#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/error.hpp"
#include "model/transformer.hpp"
#include "model/validate_transformer.hpp"

namespace kumihimo {

/// The model that the user names: a config.json, a folder with one, or a name of the catalog.
/// Text that contains '/', ends in ".json" or names an existing file is a path; the rest is looked
/// up in the catalog, and failing that may be a folder. The shape's name is the catalog's, the
/// file's without its extension, or for config.json the folder's.
Expected<TransformerShape> read_model(std::string_view name_or_path);

/// Changes to a model's shape. What is not given follows the model's own proportions: head_dim
/// stays hidden / heads where it was, and kv_heads equals heads where it did.
struct ModelOverrides {
  std::optional<std::int64_t> vocab;
  std::optional<std::int64_t> layers;
  std::optional<std::int64_t> hidden;
  std::optional<std::int64_t> heads;
  std::optional<std::int64_t> kv_heads;
  std::optional<std::int64_t> ffn_hidden;
  std::optional<std::int64_t> head_dim;
  std::optional<bool> tied;
};

/// The flags that messages about overrides name.
inline constexpr ShapeKeys override_flags{.layers = "--layers",
                                          .hidden = "--hidden",
                                          .heads = "--heads",
                                          .kv_heads = "--kv-heads",
                                          .head_dim = "--head-dim",
                                          .ffn_hidden = "--ffn-hidden",
                                          .vocab = "--vocab-size"};

/// The changed shape, validated again.
Expected<TransformerShape> apply_overrides(TransformerShape shape, const ModelOverrides& overrides);

}  // namespace kumihimo
