#include "sweep/process_trials.hpp"

#include <chrono>
#include <cmath>
#include <csignal>
#include <fmt/format.h>
#include <fstream>
#include <thread>

#include "base/elapsed.hpp"
#include "layout/layout_text.hpp"
#include "sweep/candidates.hpp"

namespace kumihimo {
namespace {

constexpr std::chrono::milliseconds between_looks{20};
constexpr std::chrono::milliseconds until_we_hear_too{200};
/// Exit codes of `kumihimo train` (docs).
constexpr int train_done = 0, train_bad_input = 2, train_out_of_memory = 3, train_interrupted = 130;

/// The last line that a trial wrote: mostly why it ended.
std::string last_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string last;
  for (std::string line; std::getline(file, line);) {
    if (line.find_first_not_of(" \r") != std::string::npos) last = line;
  }
  constexpr std::size_t most = 300;
  return last.substr(0, most);
}

std::string number_text(double value) { return fmt::format("{}", value); }

bool was_told_to_end(int code) {
  return code == train_interrupted || code == -SIGINT || code == -SIGTERM || code == -SIGHUP;
}

/// What ended a process that was not asked to: the kernel's out-of-memory killer sends SIGKILL.
void judge_exit(int code, const std::filesystem::path& output, TrialOutcome& outcome) {
  outcome.reason = last_line(output);
  if (code == train_out_of_memory) {
    outcome.state = TrialState::out_of_memory;
  } else if (code == train_bad_input) {
    outcome.state = TrialState::infeasible;
  } else if (code < 0) {
    outcome.state = TrialState::error;
    outcome.reason =
        fmt::format("ended by signal {}{}", -code,
                    code == -SIGKILL ? ", perhaps of the kernel's out-of-memory killer" : "");
  } else if (code == train_interrupted) {
    outcome.state = TrialState::error;
    outcome.reason = "ended by SIGINT, SIGTERM or SIGHUP that the sweep did not send";
  } else {
    outcome.state = TrialState::error;
    outcome.reason = fmt::format("exit code {}: {}", code, outcome.reason);
  }
}

}  // namespace

ProcessTrials::ProcessTrials(Store& store, std::int64_t study, std::optional<std::int64_t> machine,
                             std::span<const Candidate> candidates, Launcher& launcher,
                             ProcessTrialOptions options, std::stop_token stop)
    : store_(store),
      study_(study),
      machine_(machine),
      candidates_(candidates),
      launcher_(launcher),
      options_(std::move(options)),
      stop_(std::move(stop)) {}

void ProcessTrials::believe(const Beliefs& beliefs, std::int64_t profile_id) {
  profile_id_ = profile_id;
  forecasts_.clear();
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    const Belief& belief = beliefs.layouts[i];
    const Prediction prediction = predict(candidates_[i], beliefs.profile);
    const double step_s = std::exp(belief.log_step_s);
    forecasts_.push_back({.step_time_s = step_s,
                          .mfu = prediction.mfu * prediction.step_s / step_s,
                          .memory_gib = prediction.peak_memory_bytes / GiB,
                          .fits_probability = belief.fits_probability});
  }
}

Trial ProcessTrials::recorded(std::size_t candidate, std::int64_t repetition) const {
  Trial trial{.study_id = study_,
              .machine_id = machine_,
              .profile_id = profile_id_,
              .layout = to_text(candidates_[candidate].run.layout),
              .repetition = repetition,
              .clock = options_.clock,
              .run = run_row(candidates_[candidate])};
  if (candidate < forecasts_.size()) trial.forecast = forecasts_[candidate];
  trial.run[RunColumn::source] = "kumihimo sweep";
  return trial;
}

TrialOutcome ProcessTrials::run_again(std::size_t candidate, std::int64_t repetition) {
  const auto begin = SteadyClock::now();
  Trial trial = recorded(candidate, repetition);
  trial.id = store_.begin_trial(trial);
  std::vector<LoggedStep> steps;
  TrialOutcome outcome = measure(candidate, trial, steps);
  outcome.duration_s = seconds_since(begin);
  outcome.device_hours = outcome.duration_s / 3600 * candidates_[candidate].run.gpus;
  total_trial_s_ += outcome.duration_s;

  trial.state = outcome.state;
  trial.reason = outcome.reason;
  trial.duration_s = outcome.duration_s;
  trial.device_hours = outcome.device_hours;
  trial.run[RunColumn::table_or_row_id] = fmt::format("study{}#{}", study_, trial.id);
  std::vector<StepSample> samples;
  for (const LoggedStep& step : steps) {
    samples.push_back(
        {step.step, step.step_time_s, step.loss, step.step <= options_.rules.warmup_steps});
  }
  store_.end_trial(trial, samples, outcome.duration_s);
  return outcome;
}

TrialOutcome ProcessTrials::measure(std::size_t candidate, Trial& trial,
                                    std::vector<LoggedStep>& steps) {
  const auto log_path = options_.scratch / fmt::format("trial-{}.jsonl", trial.id);
  const auto output = options_.scratch / fmt::format("trial-{}.txt", trial.id);
  TrialCommand command{.arguments = options_.train_arguments,
                       .ranks = candidates_[candidate].run.gpus,
                       .output = output};
  const std::int64_t most = options_.rules.warmup_steps + options_.rules.most_steps;
  for (std::string word : {std::string("--layout"), trial.layout, std::string("--steps"),
                           std::to_string(most), std::string("--json-log"), log_path.string()}) {
    command.arguments.push_back(std::move(word));
  }
  if (options_.layout_arguments) {
    for (std::string& word : options_.layout_arguments(candidates_[candidate].run.layout)) {
      command.arguments.push_back(std::move(word));
    }
  }
  const auto begin = SteadyClock::now();
  TrialOutcome outcome;
  StepLog log(log_path);
  std::vector<double> timed;
  try {
    const auto running = launcher_.start(command);
    store_.set_process(trial.id, running->leader());
    bool ended = false, enough = false;
    while (!ended && !enough) {
      const std::optional<int> code = running->exit_code();
      for (const LoggedStep& step : log.read_new()) {
        steps.push_back(step);
        if (step.step > options_.rules.warmup_steps) timed.push_back(step.step_time_s);
      }
      enough = !timed.empty() && is_settled(summarise_steps(timed), options_.rules);
      if (watch_) watch_(candidate, steps);
      if (enough) break;
      // Where everybody is told to end, as when a machine shuts down, the trial may hear it first.
      if (code && was_told_to_end(*code)) std::this_thread::sleep_for(until_we_hear_too);
      if (code && !(was_told_to_end(*code) && stop_.stop_requested())) {
        ended = true;
        if (*code != train_done || timed.empty()) judge_exit(*code, output, outcome);
        enough = *code == train_done && !timed.empty();
      } else if (stop_.stop_requested()) {
        outcome.state = TrialState::cancelled;
        outcome.reason = "interrupted";
        ended = true;
      } else if (seconds_since(begin) > options_.timeout_s) {
        outcome.state = TrialState::timeout;
        outcome.reason = fmt::format("{} steps in {:.0f} s", steps.size(), options_.timeout_s);
        ended = true;
      } else {
        std::this_thread::sleep_for(between_looks);
      }
    }
    running->end();
    if (enough) outcome.state = TrialState::ok;
  } catch (const std::system_error& error) {
    outcome.state = TrialState::error;
    outcome.reason = error.what();
  }
  std::error_code ignored;
  std::filesystem::remove(log_path, ignored);
  std::filesystem::remove(output, ignored);

  if (outcome.state == TrialState::ok) {
    const StepSummary summary = summarise_steps(timed);
    outcome.step_time_s = summary.median_s;
    outcome.step_time_error = summary.spread / 1.96;
    outcome.memory_gib = steps.back().peak_memory_bytes / GiB;
    trial.timed_steps = summary.timed_steps;
    trial.step_time_spread = summary.spread;
    trial.outlier_steps = summary.outliers;
    // MFU and tokens/s of the median step: those of any step times its length.
    const LoggedStep& any = steps.back();
    const double ratio = any.step_time_s / summary.median_s;
    const double ranks = candidates_[candidate].run.gpus;
    trial.run[RunColumn::step_time_s] = number_text(summary.median_s);
    if (any.hfu * ratio <= 1) {
      trial.run[RunColumn::mfu] = number_text(any.mfu * ratio);
      trial.run[RunColumn::hfu] = number_text(any.hfu * ratio);
    } else {
      outcome.reason = "faster than the peak that was measured: --measure-again gives its MFU";
    }
    trial.run[RunColumn::tokens_per_s_per_gpu] = number_text(any.tokens_per_s * ratio / ranks);
    trial.run[RunColumn::memory_gb] = number_text(*outcome.memory_gib);
  }
  return outcome;
}

TrialOutcome outcome_of(const Trial& trial) {
  TrialOutcome outcome{.state = trial.state,
                       .duration_s = trial.duration_s.value_or(0),
                       .device_hours = trial.device_hours.value_or(0),
                       .reason = trial.reason};
  if (trial.state != TrialState::ok) return outcome;
  outcome.step_time_s = trial.step_time_s();
  outcome.step_time_error = trial.step_time_spread.value_or(0) / 1.96;
  const std::string& memory = trial.run[RunColumn::memory_gb];
  if (!memory.empty()) outcome.memory_gib = number_in_cell(memory);
  return outcome;
}

int cancel_abandoned(Store& store, std::int64_t study) {
  int cancelled = 0;
  for (Trial& trial : store.trials(study)) {
    if (trial.state != TrialState::running) continue;
    if (trial.process) end_session(*trial.process);
    trial.state = TrialState::cancelled;
    trial.reason = "the sweep that ran it was killed";
    if (store.end_trial(trial, {}, 0)) ++cancelled;
  }
  return cancelled;
}

}  // namespace kumihimo
