#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace kumihimo {

/// The data that ships with the program: model shapes, clusters, fitted stack profiles, texts,
/// changes to advise.
enum class CatalogKind { models, clusters, stacks, texts, upgrades };

struct CatalogFile {
  std::string name;    ///< file name without extension: "llama-13b"
  std::string text;    ///< the file's contents
  std::string origin;  ///< a path, or "built in"
};

/// Names in the catalog, sorted. The installed folder (…/bin/../share/kumihimo/catalog, or the
/// catalog/ of a source tree beside build/) is read first; what it lacks comes from the copy
/// embedded in the program, so that the bare binary works.
std::vector<std::string> catalog_names(CatalogKind kind);

/// The file of that name, or an error with the nearest known name.
Expected<CatalogFile> find_in_catalog(CatalogKind kind, std::string_view name);

}  // namespace kumihimo
