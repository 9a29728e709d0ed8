#include "base/shown_text.hpp"

#include <algorithm>

namespace kumihimo {

std::string shown(std::string_view text, std::size_t longest) {
  std::size_t length = std::min(text.size(), longest);
  while (length > 0 && length < text.size() &&
         (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) {
    --length;
  }
  std::string result(text.substr(0, length));
  std::replace_if(
      result.begin(), result.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return length < text.size() ? result + "..." : result;
}

std::string shown_quoted(std::string_view text) { return '"' + shown(text) + '"'; }

}  // namespace kumihimo
