#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "calibrate/validation.hpp"

namespace kumihimo {

/// "ok", "oom", "infeasible", "skipped".
std::string_view to_string(PredictedStatus status);

/// CSV with the header table_or_row_id,predicted_status,predicted_step_time_s,predicted_memory_gb,
/// predicted_mfu,reason and one line for each run, in their order. Figures are blank where there
/// are none. predicted_memory_gb is in GiB, as memory_gb is read from run files; predicted_mfu is
/// the full attention count.
std::string predictions_csv(std::span<const PredictableRun> runs,
                            std::span<const RunPrediction> predictions);

/// Writes it atomically. Returns the path.
Expected<std::filesystem::path> write_predictions(const std::filesystem::path& path,
                                                  std::span<const PredictableRun> runs,
                                                  std::span<const RunPrediction> predictions);

}  // namespace kumihimo
