#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// What a row's free text says about the run. Only segments (between semicolons) that follow a
/// pattern of docs/runs.md mean anything; all other text is ignored.
struct NoteFacts {
  std::string skip_reason;
  std::string suspect;
  std::optional<ScheduleKind> schedule;
  bool one_layer_less_at_ends = false;  ///< embedding and head count as a layer of the split
  std::optional<bool> sequence_parallel;
  std::optional<bool> overlap_tensor_parallel;
  std::optional<bool> overlap_data_parallel;
  std::optional<Precision> gradient_dtype;
  std::optional<NormKernel> norm;
  std::optional<int> zero_stage;
  Offload offload;
  std::optional<std::int64_t> num_micro_batches;
  std::optional<double> printed_tokens_per_s;  ///< of all devices together
  double network_bandwidth = 0;                ///< bytes/s, one direction; 0: not stated
  bool network_is_per_device = false;          ///< otherwise for a whole node
  std::vector<std::string> assumptions;
};

NoteFacts read_notes(std::string_view notes);

}  // namespace kumihimo
