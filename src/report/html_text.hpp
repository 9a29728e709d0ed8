#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kumihimo {

/// Text as HTML shows it, in elements and in quoted attributes: markup is escaped, bytes that are
/// not UTF-8 become U+FFFD, control characters are left out, and what is longer than `longest`
/// characters is cut with "…".
std::string html_text(std::string_view text, std::size_t longest = 400);

/// The same for a line of Markdown: what Markdown or HTML would read as markup is escaped, line
/// breaks become spaces.
std::string markdown_text(std::string_view text, std::size_t longest = 400);

/// Valid UTF-8 without control characters, at most `longest` characters.
std::string clean_text(std::string_view text, std::size_t longest);

/// A table of escaped cells; `numbers[i]`: column i is aligned to the right.
struct HtmlTable {
  std::vector<std::string> titles;
  std::vector<bool> numbers;
  std::vector<std::vector<std::string>> rows;
};
std::string to_html(const HtmlTable& table, std::string_view caption);
std::string to_markdown(const HtmlTable& table);

}  // namespace kumihimo
