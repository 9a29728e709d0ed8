#pragma once

#include <cstdint>
#include <fmt/format.h>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace kumihimo {

enum class Language : std::uint8_t { english, japanese };

Expected<Language> parse_language(std::string_view text, std::string_view where);
std::string_view to_string(Language language);  ///< "en", "ja": as in HTML

/// A text in every language. Placeholders are numbered: languages order them differently.
struct Wording {
  std::string_view key;
  std::string_view english;
  std::string_view japanese;
};

/// Every text of advise and report.
const std::vector<Wording>& messages();

/// The text of a key; a missing one fails a check.
std::string_view message(Language language, std::string_view key);

/// What an English text of the catalog, or a phrase of why a layout is impossible, is in
/// `language`; any other text stays as it is.
std::string_view translated(Language language, std::string_view english);

/// The text of a key with its placeholders filled.
template <class... Values>
std::string text_of(Language language, std::string_view key, const Values&... values) {
  return fmt::format(fmt::runtime(message(language, key)), values...);
}

}  // namespace kumihimo
