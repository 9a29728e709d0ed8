#include "cli/table.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

namespace kumihimo {
namespace {

struct Range {
  char32_t first, last;
};

// Unicode 15, East Asian Width W and F, by blocks; and the combining blocks in use.
constexpr std::array wide{Range{0x1100, 0x115F},   Range{0x2E80, 0x303E},  Range{0x3041, 0xA4CF},
                          Range{0xAC00, 0xD7A3},   Range{0xF900, 0xFAFF},  Range{0xFE30, 0xFE6F},
                          Range{0xFF00, 0xFF60},   Range{0xFFE0, 0xFFE6},  Range{0x1F300, 0x1F64F},
                          Range{0x1F900, 0x1F9FF}, Range{0x20000, 0x3FFFD}};
constexpr std::array combining{Range{0x0300, 0x036F}, Range{0x200B, 0x200D}, Range{0x3099, 0x309A},
                               Range{0xFE00, 0xFE0F}};

template <std::size_t N>
bool contains(const std::array<Range, N>& ranges, char32_t letter) {
  return std::any_of(ranges.begin(), ranges.end(), [letter](const Range& range) {
    return range.first <= letter && letter <= range.last;
  });
}

/// Reads one letter of UTF-8; a stray byte counts as a letter.
char32_t next_letter(std::string_view& text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t length = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  char32_t letter = length == 1 ? first : first & (0xFFU >> (length + 1));
  std::size_t read = 1;
  while (read < length && read < text.size() && (byte(read) & 0xC0) == 0x80) {
    letter = (letter << 6) | (byte(read) & 0x3F);
    ++read;
  }
  text.remove_prefix(read);
  return letter;
}

std::vector<int> widths_of(const Table& table) {
  std::vector<int> widths;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    int width = display_width(table.columns[i].title);
    for (const auto& row : table.rows) {
      if (i < row.size()) width = std::max(width, display_width(row[i]));
    }
    widths.push_back(width);
  }
  return widths;
}

/// `text` in pieces of at most `width` columns, cut at blanks; a longer word stays whole.
std::vector<std::string> lines_of(const std::string& text, int width) {
  std::vector<std::string> lines;
  std::string line;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    if (!line.empty() && display_width(line) + 1 + display_width(word) > width) {
      lines.push_back(std::move(line));
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
    begin = end + 1;
  }
  lines.push_back(std::move(line));
  return lines;
}

std::string line_of(const Table& table, const std::vector<std::string>& cells,
                    const std::vector<int>& widths, int indent) {
  std::string line(indent, ' ');
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) line += "  ";
    line += padded(cells[i], widths[i], table.columns[i].align);
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

}  // namespace

int display_width(std::string_view text) {
  int width = 0;
  while (!text.empty()) {
    const char32_t letter = next_letter(text);
    if (!contains(combining, letter)) width += contains(wide, letter) ? 2 : 1;
  }
  return width;
}

std::string padded(std::string_view text, int width, Align align) {
  const std::string blanks(static_cast<std::size_t>(std::max(0, width - display_width(text))), ' ');
  return align == Align::left ? std::string(text) + blanks : blanks + std::string(text);
}

std::string to_text(const Table& table, int indent) {
  std::vector<std::string> titles;
  for (const Column& column : table.columns) titles.push_back(column.title);
  const std::vector<int> widths = widths_of(table);
  const bool titled = std::any_of(titles.begin(), titles.end(),
                                  [](const std::string& title) { return !title.empty(); });
  std::string text = titled ? line_of(table, titles, widths, indent) : "";
  for (const auto& row : table.rows) text += line_of(table, row, widths, indent);
  return text;
}

int display_width(const Table& table) {
  int width = 0;
  for (const int column : widths_of(table)) width += column + (width > 0 ? 2 : 0);
  return width;
}

std::string wrapped_text(Table table, int width, const std::vector<std::string>& spare) {
  constexpr int indent = 2, narrowest = 16;
  if (width == 0 || table.columns.empty()) return to_text(table, indent);
  const int last_width = widths_of(table).back();
  narrow(table, spare, width - indent + std::max(0, last_width - narrowest));
  const int room = last_width - std::max(0, indent + display_width(table) - width);
  if (room < narrowest) return to_text(table, indent);
  std::vector<std::vector<std::string>> rows;
  const std::size_t last = table.columns.size() - 1;
  for (std::vector<std::string>& row : table.rows) {
    if (row.size() <= last || display_width(row[last]) <= room) {
      rows.push_back(std::move(row));
      continue;
    }
    for (const std::string& line : lines_of(row[last], room)) {
      row[last] = line;
      rows.push_back(row);
      std::fill(row.begin(), row.end(), "");
    }
  }
  table.rows = std::move(rows);
  return to_text(table, indent);
}

std::vector<std::string> narrow(Table& table, const std::vector<std::string>& titles, int width) {
  std::vector<std::string> left_out;
  for (const std::string& title : titles) {
    if (width == 0 || display_width(table) <= width) break;
    const auto column = std::find_if(table.columns.begin(), table.columns.end(),
                                     [&](const Column& c) { return c.title == title; });
    if (column == table.columns.end()) continue;
    const auto place = column - table.columns.begin();
    table.columns.erase(column);
    for (std::vector<std::string>& row : table.rows) {
      if (std::ssize(row) > place) row.erase(row.begin() + place);
    }
    left_out.push_back(title);
  }
  return left_out;
}

}  // namespace kumihimo
