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

/// The same in `width` columns, if that can be: the last column's cells go on in further lines of
/// their own column, broken at blanks; where it has no room, the columns titled `spare` go first.
/// 0: as wide as it is.
std::string wrapped_text(Table table, int width, const std::vector<std::string>& spare = {});

/// Columns that the table takes, without its indent.
int display_width(const Table& table);

/// Leaves out columns in the order of `titles` until the table has at most `width` columns without
/// its indent; returns the titles left out. 0: none.
std::vector<std::string> narrow(Table& table, const std::vector<std::string>& titles, int width);

/// Columns that UTF-8 text takes on a terminal: combining marks none, East Asian wide letters two.
int display_width(std::string_view text);

/// `text` filled with blanks to `width` columns.
std::string padded(std::string_view text, int width, Align align = Align::left);

}  // namespace kumihimo
