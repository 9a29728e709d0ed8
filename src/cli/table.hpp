#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kumihimo {

enum class Align { left, right };

struct Column {
  std::string title;
  Align align = Align::left;
};

/// Columns of text, as wide as their widest cell.
struct Table {
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;  ///< shorter rows are filled with blanks
};

/// The table with its titles as first line (left out when all are empty), each line indented by
/// `indent` blanks and free of trailing ones.
std::string to_text(const Table& table, int indent = 2);

/// Columns that UTF-8 text takes on a terminal: combining marks none, East Asian wide letters two.
int display_width(std::string_view text);

/// `text` filled with blanks to `width` columns.
std::string padded(std::string_view text, int width, Align align = Align::left);

}  // namespace kumihimo
