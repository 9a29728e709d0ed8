#pragma once

#include <string_view>
#include <vector>

#include "base/catalog.hpp"

namespace kumihimo {

struct EmbeddedFile {
  CatalogKind kind;
  std::string_view name;
  std::string_view text;
};

/// Defined by a source that the build generates from catalog/.
const std::vector<EmbeddedFile>& embedded_catalog();

}  // namespace kumihimo
