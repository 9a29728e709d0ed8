#include "cluster/toml_text.hpp"

#include <fmt/format.h>

namespace kumihimo {

std::string toml_string(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      result += fmt::format("\\u{:04X}", byte);
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string toml_strings(std::span<const std::string> texts) {
  std::string result;
  for (const std::string& text : texts) result += (result.empty() ? "" : ", ") + toml_string(text);
  return "[" + result + "]";
}

std::string quantity_text(double value, Dimension dimension,
                          std::initializer_list<std::pair<std::string_view, double>> units) {
  std::string shortest;
  for (const auto& [unit, factor] : units) {
    // Six digits first: dividing by the unit may leave a last digit that multiplying takes away.
    for (const std::string& number :
         {fmt::format("{:.6g}", value / factor), fmt::format("{}", value / factor)}) {
      const std::string text = number + std::string(unit);
      if (!shortest.empty() && text.size() >= shortest.size()) continue;
      const Expected<double> read = parse_quantity(text, dimension, "");
      if (read && *read == value) shortest = text;
    }
  }
  return shortest;
}

}  // namespace kumihimo
