#pragma once

#include <gtest/gtest.h>
#include <map>
#include <string>

#include "base/csv.hpp"
#include "runs/measured_run.hpp"

namespace kumihimo {

using Cells = std::map<std::string, std::string>;

/// A made-up row of a small Llama on 16 devices: tp 2 x pp 2 x dp 4, 32 sequences of 1,024 tokens.
inline Cells plain_row() {
  return {{"source", "made up"},
          {"table_or_row_id", "row 1"},
          {"model_name", "LLaMA-1B"},
          {"hidden", "2048"},
          {"layers", "24"},
          {"heads", "16"},
          {"kv_heads", "16"},
          {"ffn_hidden", "5504"},
          {"vocab", "32000"},
          {"seq_len", "1024"},
          {"global_batch", "32"},
          {"gpus", "16"},
          {"gpu_type", "A100"},
          {"gpus_per_node", "8"},
          {"tp", "2"},
          {"pp", "2"},
          {"dp", "4"},
          {"cp", "1"},
          {"ep", "1"},
          {"vpp", "1"},
          {"micro_batch", "2"},
          {"recompute", "none"},
          {"seq_parallel", "0"},
          {"zero_stage", "1"},
          {"precision", "bf16"},
          {"attention_kernel", "flash2"},
          {"step_time_s", "2"},
          {"tokens_per_s_per_gpu", ""},
          {"tflops_per_gpu", ""},
          {"mfu", ""},
          {"hfu", ""},
          {"status", "ok"},
          {"memory_gb", ""},
          {"notes", ""}};
}

/// plain_row with some cells changed.
inline Cells row_with(const Cells& changes) {
  Cells row = plain_row();
  for (const auto& [column, value] : changes) row[column] = value;
  return row;
}

/// A file of rows that all have the columns of the first.
inline std::string file_of(const std::vector<Cells>& rows) {
  std::string text;
  for (const auto& [column, value] : rows.front()) text += column + ",";
  text.back() = '\n';
  for (const Cells& row : rows) {
    for (const auto& [column, value] : row) text += csv_escape(value) + ",";
    text.back() = '\n';
  }
  return text;
}

/// The run of plain_row with some cells changed, which must be readable.
inline MeasuredRun run_with(const Cells& changes) {
  const auto runs = parse_runs(file_of({row_with(changes)}), "made-up.csv");
  if (!runs) {
    ADD_FAILURE() << to_string(runs.errors());
    return {};
  }
  return runs->front();
}

}  // namespace kumihimo
