#pragma once

#include <nlohmann/json_fwd.hpp>

#include "cli/memory_prediction.hpp"
#include "cli/step_figures.hpp"
#include "cli/training_run.hpp"

namespace kumihimo {

// The documents kumihimo.train-step/1 and kumihimo.train/1 of docs/json.md.

/// Everything that decides what is trained.
nlohmann::ordered_json training_options_json(const TrainingOptions& options);

nlohmann::ordered_json train_step_json(const StepReport& report, const TrainingRun& run,
                                       const RankSetup& setup);

nlohmann::ordered_json train_json(const StepStatistics& statistics, const TrainingRun& run,
                                  const RankSetup& setup, const MemoryPrediction& predicted,
                                  const TrainingEnd& end);

}  // namespace kumihimo
