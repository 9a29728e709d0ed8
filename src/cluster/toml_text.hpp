#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/units.hpp"

// How the project's files are written, so that what was written reads back to the same value.

namespace kumihimo {

/// A TOML basic string.
std::string toml_string(std::string_view text);

/// A TOML array of them.
std::string toml_strings(std::span<const std::string> texts);

/// The shortest text in one of `units` (name and factor) that parse_quantity reads as exactly
/// `value`. A unit of factor one, which always does, is among them.
std::string quantity_text(double value, Dimension dimension,
                          std::initializer_list<std::pair<std::string_view, double>> units);

}  // namespace kumihimo
