#include "runs/run_columns.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>

#include "base/shown_text.hpp"
#include "runs/spellings.hpp"

namespace kumihimo {
namespace {

constexpr std::size_t max_listed_faults = 20;

constexpr std::array required{RunColumn::table_or_row_id,
                              RunColumn::model_name,
                              RunColumn::hidden,
                              RunColumn::layers,
                              RunColumn::heads,
                              RunColumn::seq_len,
                              RunColumn::global_batch,
                              RunColumn::gpus,
                              RunColumn::gpu_type,
                              RunColumn::tp,
                              RunColumn::pp,
                              RunColumn::micro_batch,
                              RunColumn::step_time_s,
                              RunColumn::status};

std::optional<double> to_number(std::string_view text) {
  double value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

}  // namespace

void FaultList::add(Error error) {
  if (faults_.size() < max_listed_faults)
    faults_.push_back(std::move(error));
  else
    ++further_;
}

Errors FaultList::finish() && {
  if (further_ > 0)
    faults_.push_back({file_, fmt::format("and {} more", further_), "mend those above first"});
  return std::move(faults_);
}

ColumnMap map_columns(const std::vector<std::string>& header, FaultList& faults) {
  ColumnMap columns;
  for (std::size_t field = 0; field < header.size(); ++field) {
    const std::string_view name = trim(header[field]);
    const auto known = std::find(column_names.begin(), column_names.end(), name);
    if (known == column_names.end()) continue;
    auto& place = columns[static_cast<std::size_t>(known - column_names.begin())];
    if (place)
      faults.add({faults.file() + ": header", fmt::format("names the column {} twice", name),
                  "keep one of them"});
    place = field;
  }
  std::vector<std::string_view> missing;
  for (const RunColumn column : required)
    if (!columns[static_cast<std::size_t>(column)]) missing.push_back(name_of(column));
  if (!missing.empty())
    faults.add({faults.file() + ": header",
                fmt::format("lacks the columns {}", fmt::join(missing, ", ")),
                "name them in the first line; the schema stands in docs/runs.md"});
  return columns;
}

std::string_view RowCells::text(RunColumn column) const {
  const auto field = columns_[static_cast<std::size_t>(column)];
  return field ? trim(fields_[*field]) : std::string_view();
}

std::string_view RowCells::written(RunColumn column) const {
  const auto field = columns_[static_cast<std::size_t>(column)];
  return field ? fields_[*field] : std::string_view();
}

void RowCells::refuse(RunColumn column, std::string_view needed) const {
  faults_.add({fmt::format("{}:{}: {}", faults_.file(), line_, name_of(column)),
               fmt::format("is \"{}\"; {} is needed", shown(text(column)), needed),
               "correct the cell"});
}

std::optional<std::int64_t> RowCells::whole(RunColumn column, std::int64_t least,
                                            std::int64_t most) const {
  const std::string_view cell = text(column);
  if (cell.empty()) return std::nullopt;
  const auto value = to_number(cell);
  if (value && *value >= static_cast<double>(least) && *value <= static_cast<double>(most) &&
      *value == std::floor(*value))
    return static_cast<std::int64_t>(*value);
  refuse(column, fmt::format("a whole number from {} to {}, or blank,", least, most));
  return std::nullopt;
}

std::optional<double> RowCells::number(RunColumn column, double least, double most) const {
  const std::string_view cell = text(column);
  if (cell.empty()) return std::nullopt;
  const auto value = to_number(cell);
  if (value && *value >= least && *value <= most) return value;
  refuse(column, fmt::format("a number from {:g} to {:g}, or blank,", least, most));
  return std::nullopt;
}

std::optional<bool> RowCells::flag(RunColumn column) const {
  const std::string cell = lower_case(text(column));
  if (cell.empty()) return std::nullopt;
  if (cell == "1" || cell == "true" || cell == "yes") return true;
  if (cell == "0" || cell == "false" || cell == "no") return false;
  refuse(column, "0, 1 or blank");
  return std::nullopt;
}

}  // namespace kumihimo
