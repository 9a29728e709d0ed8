#pragma once

#include <filesystem>
#include <functional>
#include <stop_token>

#include "sweep/launcher.hpp"
#include "sweep/step_times.hpp"
#include "sweep/strategy.hpp"

namespace kumihimo {

/// How trials of a sweep are run, beside their layout.
struct ProcessTrialOptions {
  std::vector<std::string> train_arguments;  ///< all but layout, steps and log
  /// What depends on the layout, as the peak of its precision; may be empty.
  std::function<std::vector<std::string>(const ParallelLayout&)> layout_arguments;
  MeasurementRules rules;
  double timeout_s = 600;  ///< of a whole trial
  TrialClock clock = TrialClock::measured;
  std::filesystem::path scratch;  ///< a folder for logs
};

/// Runs candidates as processes and records each in the store: before it starts, and when it ends.
class ProcessTrials : public TrialRunner {
 public:
  /// `wake`: called while a trial runs, with the steps so far, some twenty times a second.
  using Watch = std::function<void(std::size_t candidate, const std::vector<LoggedStep>& steps)>;

  ProcessTrials(Store& store, std::int64_t study, std::optional<std::int64_t> machine,
                std::span<const Candidate> candidates, Launcher& launcher,
                ProcessTrialOptions options, std::stop_token stop);

  TrialOutcome run(std::size_t candidate) override { return run_again(candidate, 0); }
  /// The same layout once more, as a control.
  TrialOutcome run_again(std::size_t candidate, std::int64_t repetition);

  /// For the forecasts that are recorded from here on.
  void believe(const Beliefs& beliefs, std::int64_t profile_id);
  void set_watch(Watch watch) { watch_ = std::move(watch); }
  /// Seconds that trials took.
  double total_trial_s() const { return total_trial_s_; }

 private:
  Trial recorded(std::size_t candidate, std::int64_t repetition) const;
  TrialOutcome measure(std::size_t candidate, Trial& trial, std::vector<LoggedStep>& steps);

  Store& store_;
  std::int64_t study_;
  std::optional<std::int64_t> machine_;
  std::span<const Candidate> candidates_;
  Launcher& launcher_;
  ProcessTrialOptions options_;
  std::stop_token stop_;
  Watch watch_;
  std::vector<TrialForecast> forecasts_;
  std::optional<std::int64_t> profile_id_;
  double total_trial_s_ = 0;
};

/// What a stored trial says to a strategy.
TrialOutcome outcome_of(const Trial& trial);

/// Trials of a study that were left running by a sweep that is dead: their processes are ended and
/// they are recorded as cancelled. Returns how many.
int cancel_abandoned(Store& store, std::int64_t study);

}  // namespace kumihimo
