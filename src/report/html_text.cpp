#include "report/html_text.hpp"

#include <fmt/format.h>

namespace kumihimo {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

/// Length of the UTF-8 sequence at the start of `text`, 0 if it is none.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 && first < 0xF5   ? 4
                             : first >= 0xE0 && first < 0xF0 ? 3
                             : first >= 0xC2 && first < 0xE0 ? 2
                                                             : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and beyond U+10FFFF.
  if (first == 0xE0 && byte(1) < 0xA0) return 0;
  if (first == 0xED && byte(1) > 0x9F) return 0;
  if (first == 0xF0 && byte(1) < 0x90) return 0;
  if (first == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

/// Characters that change the direction of the text around them could hide what is written.
bool is_direction_mark(std::string_view sequence) {
  return sequence >= "\xE2\x80\xAA" && sequence <= "\xE2\x80\xAE";
}

}  // namespace

std::string clean_text(std::string_view text, std::size_t longest) {
  std::string result;
  std::size_t characters = 0;
  while (!text.empty()) {
    if (characters == longest) return result + "…";
    const std::size_t length = sequence_length(text);
    const std::string_view sequence = text.substr(0, std::max<std::size_t>(length, 1));
    text.remove_prefix(sequence.size());
    ++characters;
    if (length == 0) {
      result += replacement;
    } else if (length == 1) {
      const char c = sequence[0];
      if (c == '\n' || c == '\t' || c == '\r') {
        result += ' ';
      } else if (c >= ' ' && c != 0x7F) {
        result += c;
      }
    } else if (!is_direction_mark(sequence)) {
      result += sequence;
    }
  }
  return result;
}

std::string html_text(std::string_view text, std::size_t longest) {
  std::string result;
  for (const char c : clean_text(text, longest)) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      case '\'': result += "&#39;"; break;
      default: result += c;
    }
  }
  return result;
}

std::string markdown_text(std::string_view text, std::size_t longest) {
  std::string result;
  for (const char c : clean_text(text, longest)) {
    if (std::string_view("\\`*_[]<>|#&").find(c) != std::string_view::npos) result += '\\';
    result += c;
  }
  return result;
}

std::string to_html(const HtmlTable& table, std::string_view caption) {
  const auto align = [&](std::size_t column) {
    return column < table.numbers.size() && table.numbers[column] ? " class=\"n\"" : "";
  };
  std::string text = fmt::format("<table><caption>{}</caption><thead><tr>", html_text(caption));
  for (std::size_t i = 0; i < table.titles.size(); ++i) {
    text += fmt::format("<th scope=\"col\"{}>{}</th>", align(i), html_text(table.titles[i]));
  }
  text += "</tr></thead><tbody>\n";
  for (const std::vector<std::string>& row : table.rows) {
    text += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += fmt::format("<td{}>{}</td>", align(i), html_text(row[i]));
    }
    text += "</tr>\n";
  }
  return text + "</tbody></table>\n";
}

std::string to_markdown(const HtmlTable& table) {
  std::string text = "|", rule = "|";
  for (std::size_t i = 0; i < table.titles.size(); ++i) {
    text += fmt::format(" {} |", markdown_text(table.titles[i]));
    rule += i < table.numbers.size() && table.numbers[i] ? "---:|" : "---|";
  }
  text += "\n" + rule + "\n";
  for (const std::vector<std::string>& row : table.rows) {
    text += "|";
    for (const std::string& cell : row) text += fmt::format(" {} |", markdown_text(cell));
    text += "\n";
  }
  return text;
}

}  // namespace kumihimo
