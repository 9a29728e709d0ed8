#include "calibrate/predictions_file.hpp"

#include <fmt/format.h>

#include "base/csv.hpp"
#include "base/files.hpp"

namespace kumihimo {

std::string_view to_string(PredictedStatus status) {
  switch (status) {
    case PredictedStatus::ok: return "ok";
    case PredictedStatus::out_of_memory: return "oom";
    case PredictedStatus::infeasible: return "infeasible";
    case PredictedStatus::skipped: return "skipped";
  }
  return "?";
}

std::string predictions_csv(std::span<const PredictableRun> runs,
                            std::span<const RunPrediction> predictions) {
  KUMIHIMO_CHECK(runs.size() == predictions.size());
  std::string text =
      "table_or_row_id,predicted_status,predicted_step_time_s,predicted_memory_gb,predicted_mfu,"
      "reason\n";
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const RunPrediction& prediction = predictions[i];
    // All digits of the step time: errors computed from the file are those that validate prints.
    const std::string figures = prediction.has_figures()
                                    ? fmt::format("{},{:.3f},{:.5f}", prediction.step_s,
                                                  prediction.memory_gib, prediction.mfu)
                                    : ",,";
    text += fmt::format("{},{},{},{}\n", csv_escape(runs[i].run.id), to_string(prediction.status),
                        figures, csv_escape(prediction.reason));
  }
  return text;
}

Expected<std::filesystem::path> write_predictions(const std::filesystem::path& path,
                                                  std::span<const PredictableRun> runs,
                                                  std::span<const RunPrediction> predictions) {
  return write_file_atomically(path, predictions_csv(runs, predictions));
}

}  // namespace kumihimo
