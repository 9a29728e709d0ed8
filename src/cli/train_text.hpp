#pragma once

#include <string>
#include <string_view>

#include "cli/memory_prediction.hpp"
#include "cli/step_figures.hpp"
#include "cli/terminal.hpp"
#include "cli/training_run.hpp"

namespace kumihimo {

/// What is trained, on what, and what the figures mean: the lines above the steps.
std::string train_header(const TrainingRun& run, const RankSetup& setup, const Terminal& terminal);

/// The titles of the rows below.
std::string step_row_titles(const TrainingRequest& request);
/// A step as a row of the table. `left_s`: until the last step, by the wall clock.
std::string step_row(const StepReport& report, const TrainingRun& run, const RankSetup& setup,
                     double left_s);
/// The same in a line for a terminal that is overwritten.
std::string live_line(const StepReport& report, const TrainingRun& run, const RankSetup& setup,
                      double left_s);

/// Speed, where the time went, memory measured and predicted.
std::string train_summary(const StepStatistics& statistics, const TrainingRun& run,
                          const RankSetup& setup, const MemoryPrediction& predicted,
                          const TrainingEnd& end, const Terminal& terminal);

}  // namespace kumihimo
