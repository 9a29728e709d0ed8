#pragma once

#include <chrono>
#include <optional>

#include "cli/line_file.hpp"
#include "cli/step_figures.hpp"
#include "cli/terminal.hpp"
#include "cli/training_run.hpp"

namespace kumihimo {

/// What a training run prints and writes while it goes on. For rank 0. Every function throws
/// std::system_error when the output cannot be written.
class TrainingReporter {
 public:
  /// Opens the run's --json-log.
  explicit TrainingReporter(const TrainingRun& run);
  ~TrainingReporter();
  TrainingReporter(const TrainingReporter&) = delete;
  TrainingReporter& operator=(const TrainingReporter&) = delete;

  void begin(const RankSetup& setup);
  void step(const StepReport& report);
  /// After the last step: the summary, if there was one.
  void end(const TrainingEnd& end);

 private:
  using Clock = std::chrono::steady_clock;
  double left_s(std::int64_t steps_done) const;
  bool is_row(std::int64_t steps_done) const;
  void draw_live_line(const StepReport& report, double left_s);
  void wipe_live_line();

  const TrainingRun& run_;
  std::optional<LineFile> log_;
  Terminal out_;
  Terminal live_;
  RankSetup setup_;
  StepStatistics statistics_;
  Clock::time_point first_step_end_;
  bool live_line_drawn_ = false;
};

}  // namespace kumihimo
