#pragma once

#include <array>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "runs/run_columns.hpp"

namespace kumihimo {

/// One row of a run file as text, a cell for each column of the schema (docs/runs.md); empty: not
/// stated. MeasuredRun is what such a row means; this is what is stored and written.
struct RunRow {
  std::array<std::string, column_names.size()> cells;

  std::string& operator[](RunColumn column) { return cells[static_cast<std::size_t>(column)]; }
  const std::string& operator[](RunColumn column) const {
    return cells[static_cast<std::size_t>(column)];
  }
  bool operator==(const RunRow&) const = default;
};

/// The number that a cell begins with; 0 where there is none.
double number_in_cell(const std::string& cell);

/// The rows of a file in the schema; columns that it lacks are empty, unknown ones are passed over.
/// Whatever read_runs refuses is refused here, with the same messages.
Expected<std::vector<RunRow>> read_run_rows(const std::filesystem::path& path);
Expected<std::vector<RunRow>> parse_run_rows(std::string_view text, std::string_view where);

/// The header line and the rows: a run file.
std::string run_rows_csv(std::span<const RunRow> rows);

}  // namespace kumihimo
