#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace kumihimo {

/// The columns of the schema (docs/runs.md), in the order of its header line.
// clang-format off
enum class RunColumn : std::uint8_t {
  source, table_or_row_id, model_name, hidden, layers, heads, kv_heads, ffn_hidden, vocab,
  seq_len, global_batch, gpus, gpu_type, gpus_per_node, tp, pp, dp, cp, ep, vpp, micro_batch,
  recompute, seq_parallel, zero_stage, precision, attention_kernel, step_time_s,
  tokens_per_s_per_gpu, tflops_per_gpu, mfu, hfu, status, memory_gb, notes
};

inline constexpr std::array<std::string_view, 34> column_names{
  "source", "table_or_row_id", "model_name", "hidden", "layers", "heads", "kv_heads",
  "ffn_hidden", "vocab", "seq_len", "global_batch", "gpus", "gpu_type", "gpus_per_node", "tp",
  "pp", "dp", "cp", "ep", "vpp", "micro_batch", "recompute", "seq_parallel", "zero_stage",
  "precision", "attention_kernel", "step_time_s", "tokens_per_s_per_gpu", "tflops_per_gpu",
  "mfu", "hfu", "status", "memory_gb", "notes"
};
// clang-format on

constexpr std::string_view name_of(RunColumn column) {
  return column_names[static_cast<std::size_t>(column)];
}

/// Faults of a whole file: the first twenty are kept, the others counted.
class FaultList {
 public:
  explicit FaultList(std::string file) : file_(std::move(file)) {}
  void add(Error error);
  bool empty() const { return faults_.empty(); }
  Errors finish() &&;
  const std::string& file() const { return file_; }

 private:
  std::string file_;
  Errors faults_;
  std::size_t further_ = 0;
};

/// Which field of a record holds each column; nothing for columns that the file lacks.
using ColumnMap = std::array<std::optional<std::size_t>, column_names.size()>;

/// Finds the columns in a header line, in any order; unknown ones are passed over. A repeated
/// column and all missing ones that no row can do without are faults.
ColumnMap map_columns(const std::vector<std::string>& header, FaultList& faults);

/// The cells of one row by column: blank gives nothing, a malformed value is added to the faults
/// and gives nothing.
class RowCells {
 public:
  RowCells(const ColumnMap& columns, const std::vector<std::string>& fields, std::int64_t line,
           FaultList& faults)
      : columns_(columns), fields_(fields), line_(line), faults_(faults) {}

  /// Without surrounding blanks; a view into the record.
  std::string_view text(RunColumn column) const;
  /// The cell as it is written, surrounding blanks and line breaks included.
  std::string_view written(RunColumn column) const;
  /// "40", and "40.0" as spreadsheets write it.
  std::optional<std::int64_t> whole(RunColumn column, std::int64_t least, std::int64_t most) const;
  std::optional<double> number(RunColumn column, double least, double most) const;
  std::optional<bool> flag(RunColumn column) const;
  void refuse(RunColumn column, std::string_view needed) const;

 private:
  const ColumnMap& columns_;
  const std::vector<std::string>& fields_;
  std::int64_t line_;
  FaultList& faults_;
};

}  // namespace kumihimo
