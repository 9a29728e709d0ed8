#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kumihimo {

/// The text with "?" for control characters, which a terminal would obey; lines stay lines.
std::string without_controls(std::string_view text);

/// A text from outside as a message may show it: no longer than `longest` bytes, cut between
/// characters ("..." follows), with "?" for control characters.
std::string shown(std::string_view text, std::size_t longest = 60);

/// The same between double quotes.
std::string shown_quoted(std::string_view text);

}  // namespace kumihimo
