#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "layout/framework_defaults.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {

enum class RunStatus { ok, out_of_memory, error };

/// Which settings a row states itself.
struct StatedSettings {
  bool recompute = false, attention = false, norm = false, precision = false, zero_stage = false,
       sequence_parallel = false, virtual_stages = false, micro_batch = false,
       gradient_dtype = false, overlap_data_parallel = false, overlap_tensor_parallel = false;

  static constexpr StatedSettings all() {
    return {true, true, true, true, true, true, true, true, true, true, true};
  }
};

/// One row of a run file in the project's schema (docs/runs.md): a published run or one's own.
/// Optional fields are those that sources leave blank; `layout` holds what is stated and, until
/// complete_run fills them, default values elsewhere.
struct MeasuredRun {
  std::string file;       ///< file name without folder
  std::int64_t line = 0;  ///< of the file, on which the row begins
  std::string source;
  std::string id;  ///< table_or_row_id as it is written, blanks included
  std::string notes;
  std::string gpu_type;
  int gpus = 0;
  int gpus_per_node = 0;
  TrainingJob job;
  ParallelLayout layout;
  StatedSettings stated;
  RunStatus status = RunStatus::ok;
  std::optional<double> step_time_s, tokens_per_s_per_gpu, tflops_per_gpu, mfu, hfu, memory_gb;
  /// Bytes/s of one device between nodes, one direction, where the notes state the network.
  std::optional<double> inter_node_bandwidth;
  /// The machine, where it was measured and not looked up by gpu_type: trials of a store.
  std::optional<Cluster> cluster;
  /// What was read into the row beyond its cells: "kv_heads 32: as many as heads".
  std::vector<std::string> assumptions;
  /// Why the row, though it can be predicted, is doubtful ("INCONSISTENT ROW: ..."), or empty.
  std::string suspect;
  /// Why the row cannot be predicted at all ("hidden not stated"), or empty.
  std::string skip_reason;

  bool usable() const { return skip_reason.empty(); }
};

/// Reads a CSV file with the schema's header line. A row that lacks something that no default can
/// give is kept with a skip_reason; a file that is not in the schema, or a row with a malformed
/// number, is an error that names file, line, column and value.
/// Refuses more than 64 MiB.
Expected<std::vector<MeasuredRun>> read_runs(const std::filesystem::path& path);

/// The same for text already in memory; `where` names it in messages. Twenty faults are listed and
/// the others counted.
Expected<std::vector<MeasuredRun>> parse_runs(std::string_view text, std::string_view where);

/// The run with `defaults` where its row states nothing; what decides its time or memory most is
/// noted among its assumptions. Sequence parallelism and overlapped tensor parallelism are off on
/// one tensor rank. Splitting layers is left to the caller: an empty split is the framework's own.
MeasuredRun complete_run(MeasuredRun run, const FrameworkDefaults& defaults);

}  // namespace kumihimo
