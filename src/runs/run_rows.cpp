#include "runs/run_rows.hpp"

#include <charconv>

#include "base/csv.hpp"
#include "base/files.hpp"
#include "runs/measured_run.hpp"

namespace kumihimo {
namespace {

constexpr std::size_t max_file_bytes = std::size_t{64} << 20;

}  // namespace

Expected<std::vector<RunRow>> parse_run_rows(std::string_view text, std::string_view where) {
  const auto judged = parse_runs(text, where);
  if (!judged) return judged.errors();
  CsvReader reader(text);
  std::vector<std::string> fields;
  reader.next(fields);
  FaultList none{std::string(where)};
  const ColumnMap columns = map_columns(fields, none);
  std::vector<RunRow> rows;
  rows.reserve(judged->size());
  while (reader.next(fields)) {
    RunRow row;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (columns[i]) row.cells[i] = fields[*columns[i]];
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

double number_in_cell(const std::string& cell) {
  double value = 0;
  std::from_chars(cell.data(), cell.data() + cell.size(), value);
  return value;
}

Expected<std::vector<RunRow>> read_run_rows(const std::filesystem::path& path) {
  const auto text = read_file(path, max_file_bytes);
  if (!text) return text.errors();
  return parse_run_rows(*text, path.string());
}

std::string run_rows_csv(std::span<const RunRow> rows) {
  std::string text;
  for (std::size_t i = 0; i < column_names.size(); ++i) {
    text += (i == 0 ? "" : ",") + std::string(column_names[i]);
  }
  text += '\n';
  for (const RunRow& row : rows) {
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      if (i > 0) text += ',';
      text += csv_escape(row.cells[i]);
    }
    text += '\n';
  }
  return text;
}

}  // namespace kumihimo
