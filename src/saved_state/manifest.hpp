#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "saved_state/state_folder.hpp"

namespace kumihimo {

/// The text of manifest.json; docs/saved-state.md has its keys. Requires manifest.run to be JSON,
/// or empty, which stands for {}.
std::string write_manifest(const Manifest& manifest);

/// Reads it back. An Error for text that write_manifest did not write: it carries a checksum of its
/// own, so that a flipped byte in it is found as one in a tensor is.
Expected<Manifest> parse_manifest(std::string_view text, std::string_view where);

}  // namespace kumihimo
