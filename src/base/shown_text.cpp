#include "base/shown_text.hpp"

#include <algorithm>

namespace kumihimo {
namespace {

/// Of ASCII, or one of U+0080 to U+009F in UTF-8, of which U+009B begins a command as ESC [ does.
std::size_t control_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(at) < 0x20 || byte(at) == 0x7f) return 1;
  const bool latin = byte(at) == 0xC2 && at + 1 < text.size();
  return latin && byte(at + 1) >= 0x80 && byte(at + 1) <= 0x9f ? 2 : 0;
}

std::string replaced(std::string_view text, bool keep_lines) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = control_length(text, i);
    const bool kept = length == 0 || (keep_lines && text[i] == '\n');
    result += kept ? text[i] : '?';
    i += std::max<std::size_t>(1, length);
  }
  return result;
}

}  // namespace

std::string without_controls(std::string_view text) { return replaced(text, true); }

std::string shown(std::string_view text, std::size_t longest) {
  std::size_t length = std::min(text.size(), longest);
  while (length > 0 && length < text.size() &&
         (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) {
    --length;
  }
  const std::string result = replaced(text.substr(0, length), false);
  return length < text.size() ? result + "..." : result;
}

std::string shown_quoted(std::string_view text) { return '"' + shown(text) + '"'; }

}  // namespace kumihimo
