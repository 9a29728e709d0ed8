#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "layout/layout_text.hpp"
#include "store/store.hpp"

namespace kumihimo::testing {

/// A trial, not yet begun, of a LLaMA of four layers on eight devices of one node.
inline Trial small_llama_trial(std::int64_t study, const ParallelLayout& layout,
                               const std::string& gpu_type) {
  Trial trial{.study_id = study, .layout = to_text(layout), .repetition = 0};
  for (const auto& [column, cell] : std::initializer_list<std::pair<RunColumn, std::string>>{
           {RunColumn::source, "a sweep"},
           {RunColumn::table_or_row_id, trial.layout},
           {RunColumn::model_name, "llama-small"},
           {RunColumn::hidden, "1024"},
           {RunColumn::layers, "4"},
           {RunColumn::heads, "8"},
           {RunColumn::kv_heads, "8"},
           {RunColumn::ffn_hidden, "2816"},
           {RunColumn::vocab, "32000"},
           {RunColumn::seq_len, "512"},
           {RunColumn::global_batch, "16"},
           {RunColumn::gpus, "8"},
           {RunColumn::gpu_type, gpu_type},
           {RunColumn::gpus_per_node, "8"},
           {RunColumn::tp, std::to_string(layout.tensor_parallel)},
           {RunColumn::pp, "1"},
           {RunColumn::dp, std::to_string(layout.data_parallel)},
           {RunColumn::micro_batch, std::to_string(layout.micro_batch_size)},
           {RunColumn::precision, "bf16"}}) {
    trial.run[column] = cell;
  }
  return trial;
}

}  // namespace kumihimo::testing
