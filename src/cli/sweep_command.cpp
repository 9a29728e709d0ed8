#include "cli/sweep_command.hpp"

#include <chrono>
#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/elapsed.hpp"
#include "base/units.hpp"
#include "cli/interrupt.hpp"
#include "cli/json_text.hpp"
#include "cli/sweep_machine.hpp"
#include "cli/sweep_request.hpp"
#include "cli/sweep_text.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "cluster/cluster_file.hpp"
#include "cost/stack_profile_file.hpp"
#include "engine/training_options.hpp"
#include "layout/layout_text.hpp"
#include "sweep/candidates.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view example =
    R"(  kumihimo sweep --model llama-tiny --cluster here --ranks 2 --budget 15min --out sweep.db
      measures this machine, runs the promising layouts, and says which is best and how sure it is
  kumihimo sweep --model llama-tiny --cluster here --ranks 2 --budget 15min --out sweep.db
      the same again goes on where it was stopped, killed or out of budget
  kumihimo sweep --model llama-tiny --layers 8 --launcher emulated --cluster a100-80gb-sxm \
      --ranks 16 --vary tp,pp,micro-batch,recompute --strategy exhaustive --out emulated.db
      every layout of sixteen ranks with virtual clocks on the links of two nodes)";

constexpr std::size_t most_rows = 12;

CandidateList list_layouts(const SweepRequest& request, const Cluster& cluster) {
  return list_candidates(request.space, request.job, cluster, request.ranks,
                         [&](const ParallelLayout& layout) -> std::optional<std::string> {
                           TrainingOptions options;
                           options.job = request.job;
                           options.layout = layout;
                           const Errors faults = engine_faults(options);
                           if (faults.empty()) return std::nullopt;
                           return faults.front().where + " " + faults.front().what;
                         });
}

ProcessTrialOptions trial_options(const SweepRequest& request, const MeasuredHere& here) {
  ProcessTrialOptions options;
  options.train_arguments = {"train"};
  std::vector<std::string>& words = options.train_arguments;
  words.insert(words.end(), request.model_arguments.begin(), request.model_arguments.end());
  const auto add = [&](std::string flag, std::string value) {
    words.push_back(std::move(flag));
    words.push_back(std::move(value));
  };
  add("--seq-length", std::to_string(request.job.seq_length));
  add("--global-batch-size", std::to_string(request.job.global_batch_size));
  add("--warmup-steps", "0");
  if (request.device_memory > 0) add("--device-memory", fmt::format("{}B", request.device_memory));
  if (request.rank_kind == SweepRanks::emulated) {
    add("--ranks", "emulated");
    add("--cluster", request.cluster_name);
    options.clock = TrialClock::emulated;
  }
  options.layout_arguments = [fp32 = here.core_fp32,
                              bf16 = here.core_bf16](const ParallelLayout& layout) {
    const double peak = layout.precision == Precision::fp32 ? fp32 : bf16;
    return std::vector<std::string>{"--peak", fmt::format("{:.6g}GFLOP/s", peak / 1e9)};
  };
  options.rules = request.rules;
  options.timeout_s = request.timeout_s;
  return options;
}

/// The study to work on, new or old; an Error if it was about something else, or is worked on.
Expected<Study> open_study(const SweepRequest& request, Store& store) {
  const auto found = store.find_study(request.study);
  Study study;
  if (found) {
    study = *found;
    if (study.settings != request.settings) {
      return Error{"--out " + request.store.string(),
                   "holds the study \"" + study.name + "\" of another job: " + study.settings,
                   "ask for the same, or give this one a name: --study NAME"};
    }
  } else {
    study.name = request.study;
    study.settings = request.settings;
    study.id = store.add_study(study);
  }
  if (const auto owner = store.claim(study.id, this_process(), request.take_over)) {
    const bool here = liveness(*owner) == Liveness::alive;
    return Error{request.store.string(),
                 fmt::format("is worked on by process {} of {}", owner->pid,
                             owner->host.substr(0, owner->host.find('/'))),
                 here ? "wait for it or end it; or give this sweep a study of its own: --study NAME"
                      : "end it there; if it is gone, say so with --take-over"};
  }
  return study;
}

/// Removes its folder at the end.
class ScratchFolder {
 public:
  explicit ScratchFolder(std::filesystem::path path) : path_(std::move(path)) {
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Gives the study back whatever happens.
class OwnedStudy {
 public:
  OwnedStudy(Store& store, std::int64_t study) : store_(store), study_(study) {}
  ~OwnedStudy() {
    try {
      store_.release(study_, this_process());
    } catch (const StoreFailure&) {  // a dead owner's claim counts for nothing
    }
  }
  OwnedStudy(const OwnedStudy&) = delete;
  OwnedStudy& operator=(const OwnedStudy&) = delete;

 private:
  Store& store_;
  std::int64_t study_;
};

/// What people see while it goes on: a row for each trial and a live line, on a terminal only.
class SweepDisplay {
 public:
  SweepDisplay(const SweepRequest& request, std::span<const Candidate> candidates, bool quiet)
      : request_(request),
        candidates_(candidates),
        terminal_(terminal_of(stderr)),
        quiet_(quiet || !terminal_.progress) {}
  ~SweepDisplay() { wipe(); }
  SweepDisplay(const SweepDisplay&) = delete;
  SweepDisplay& operator=(const SweepDisplay&) = delete;

  void forecast_is(double seconds) { forecast_s_ = seconds; }

  void live(std::size_t candidate, const std::vector<LoggedStep>& steps, const StudySoFar& study,
            double spent_s) {
    if (quiet_ || SteadyClock::now() < next_draw_) return;
    next_draw_ = SteadyClock::now() + std::chrono::milliseconds(100);
    std::string line = fmt::format("trial {}  {}", study.tried.size() + 1,
                                   short_text(candidates_[candidate].run.layout));
    if (!steps.empty()) {
      line += fmt::format("  step {}, {} (forecast {})", steps.back().step,
                          format_seconds(steps.back().step_time_s), format_seconds(forecast_s_));
    }
    if (const TriedCandidate* best = study.best()) {
      line += fmt::format("  best {}", format_seconds(*best->outcome.step_time_s));
    }
    line += "  " + left_text(study, spent_s);
    std::fputs(
        ("\r" + line.substr(0, static_cast<std::size_t>(terminal_.width) - 1) + "\x1b[K").c_str(),
        stderr);
    std::fflush(stderr);
    drawn_ = true;
  }

  void row(const TriedCandidate& trial, const StudySoFar& study) {
    if (quiet_) return;
    wipe();
    const TrialOutcome& outcome = trial.outcome;
    const bool best = study.best() != nullptr && study.best()->candidate == trial.candidate;
    std::string text = fmt::format("{:>4}  {}  {}", study.tried.size(),
                                   padded(short_text(candidates_[trial.candidate].run.layout), 34),
                                   padded(std::string(to_string(outcome.state)), 7));
    if (outcome.ran()) {
      text += fmt::format("  {:>8}  forecast {:>8} {:+.1f} %{}",
                          format_seconds(*outcome.step_time_s), format_seconds(forecast_s_),
                          100 * (forecast_s_ / *outcome.step_time_s - 1), best ? "  best" : "");
    } else {
      text += "  " + outcome.reason.substr(0, 60);
    }
    std::fputs((text + "\n").c_str(), stderr);
  }

 private:
  std::string left_text(const StudySoFar& study, double spent_s) const {
    const Budget& budget = request_.budget;
    std::string text = format_seconds(spent_s);
    if (std::isfinite(budget.seconds)) text += " of " + format_seconds(budget.seconds);
    if (std::isfinite(budget.trials)) {
      text += fmt::format(", {} of {:g} trials", study.tried.size(), budget.trials);
    }
    return text;
  }
  void wipe() {
    if (drawn_) std::fputs("\r\x1b[K", stderr);
    drawn_ = false;
  }

  const SweepRequest& request_;
  std::span<const Candidate> candidates_;
  Terminal terminal_;
  bool quiet_;
  bool drawn_ = false;
  double forecast_s_ = 0;
  SteadyClock::time_point next_draw_{};
};

/// The whole of one session, once the request is known to be sound.
class SweepSession {
 public:
  SweepSession(const SweepRequest& request, Store& store, Study study, bool json,
               std::stop_token stop)
      : request_(request), store_(store), study_(std::move(study)), json_(json), stop_(stop) {}

  ExitCode run() {
    const int abandoned = cancel_abandoned(store_, study_.id);
    ScratchFolder scratch(request_.store.string() + ".trials");
    const auto here = measure_here(request_, store_, scratch.path(), stop_);
    if (!here) return refuse(here.errors());
    if (stop_.stop_requested()) {
      store_.add_spent(study_.id, seconds_since(begin_));
      std::fputs("Interrupted before the first trial of this session\n", stderr);
      return ExitCode::interrupted;
    }
    base_ = here->stack;
    base_origin_ = here->stack_measured ? base_.origin : base_.name;
    first_predictions_ = first_predictions(*here);
    const CandidateList list = list_layouts(request_, here->cluster);
    if (list.candidates.empty()) return refuse(none_possible(list));

    StudySoFar study = resume_study(list.candidates, trials_to_resume());
    if (!json_) say_plan(list, study, abandoned);
    store_.set_conclusion(study_.id, std::nullopt);

    ProcessTrialOptions options = trial_options(request_, *here);
    options.scratch = scratch.path();
    const auto launcher = make_local_launcher(
        request_.trainer,
        request_.rank_kind == SweepRanks::mpi ? LocalRanks::mpi : LocalRanks::threads);
    ProcessTrials trials(store_, study_.id, here->machine, list.candidates, *launcher, options,
                         stop_);
    SweepDisplay display(request_, list.candidates, json_);
    trials.set_watch([&](std::size_t candidate, const std::vector<LoggedStep>& steps) {
      display.live(candidate, steps, study, spent_s());
    });

    StrategyOptions strategy_options = request_.strategy;
    strategy_options.base = base_;
    const auto strategy = make_strategy(strategy_options);
    LoopHooks hooks;
    hooks.spent_s = [this] { return spent_s(); };
    hooks.before = [&](const Choice& choice) {
      if (strategy->beliefs() == nullptr) return;
      const Beliefs& beliefs = *strategy->beliefs();
      trials.believe(beliefs, keep_profile(beliefs, study));
      display.forecast_is(std::exp(beliefs.layouts[*choice.candidate].log_step_s));
    };
    hooks.after = [&](const TriedCandidate& trial, const Strategy&) {
      display.row(trial, study);
      const auto all = store_.trials(study_.id);
      if (const auto control = due_control(study, all, request_.control_every)) {
        trials.run_again(control->candidate, control->repetition);
      }
    };
    const StudyEnd end = run_study(study, *strategy, trials, request_.budget, hooks, stop_);

    const Beliefs beliefs = strategy->beliefs() != nullptr
                                ? *strategy->beliefs()
                                : believe(study, base_, refit(study, base_));
    keep_profile(beliefs, study);
    const double elapsed_s = seconds_since(begin_);
    store_.add_spent(study_.id, std::max(0.0, elapsed_s - trials.total_trial_s()));
    return finish(list, study, beliefs, end, elapsed_s, trials.total_trial_s());
  }

 private:
  double spent_s() const { return study_.spent_s + seconds_since(begin_); }

  TrialClock clock() const {
    return request_.rank_kind == SweepRanks::emulated ? TrialClock::emulated : TrialClock::measured;
  }

  std::vector<Trial> trials_to_resume() {
    std::vector<Trial> trials = store_.trials(study_.id);
    if (request_.retry_errors) {
      std::erase_if(trials, [](const Trial& trial) { return trial.state == TrialState::error; });
    }
    return trials;
  }

  std::int64_t keep_profile(const Beliefs& beliefs, const StudySoFar& study) {
    StackProfile profile = beliefs.profile;
    profile.name = request_.study;
    profile.origin = fmt::format("{}, refitted to {} trials of the study {}", base_origin_,
                                 study.tried.size(), request_.study);
    const std::string toml = write_stack_profile(profile);
    const auto newest = store_.newest_profile(study_.id);
    if (newest && newest->toml == toml) return newest->id;
    return store_.add_profile(
        study_.id, {.after_trials = static_cast<std::int64_t>(study.tried.size()), .toml = toml});
  }

  static Errors none_possible(const CandidateList& list) {
    std::string reasons;
    for (const auto& [reason, count] : list.left_out) {
      if (reasons.size() < 300)
        reasons += fmt::format("{}{} x {}", reasons.empty() ? "" : ", ", count, reason);
    }
    return {{"sweep",
             fmt::format("none of {} layouts can train the job: {}", list.considered, reasons),
             "allow other values, or change --ranks or --global-batch-size"}};
  }

  void say_plan(const CandidateList& list, const StudySoFar& study, int abandoned) const {
    std::string text = fmt::format(
        "Job: {}, sequences of {}, global batch {}, {} ranks ({}) on {}\nLayouts: {} of {} can run",
        request_.job.model.name, request_.job.seq_length, request_.job.global_batch_size,
        request_.ranks, request_.rank_kind == SweepRanks::emulated ? "emulated" : "measured",
        request_.cluster_name, list.candidates.size(), list.considered);
    if (!study.tried.empty()) text += fmt::format("; {} tried before", study.tried.size());
    if (abandoned > 0) text += fmt::format("; {} was left running and is cancelled", abandoned);
    text += "\nFirst predictions from " + first_predictions_;
    std::fputs((text + "\n\n").c_str(), stderr);
  }

  ExitCode finish(const CandidateList& list, const StudySoFar& study, const Beliefs& beliefs,
                  const StudyEnd& end, double elapsed_s, double trial_s) {
    const std::vector<Trial> trials = store_.trials(study_.id);
    const Conclusion conclusion = conclude(study, trials, base_, beliefs);
    const Candidate* best = conclusion.best ? &list.candidates[*conclusion.best] : nullptr;
    Json json = conclusion_json(conclusion, best);
    json["ended"] = end.reason;
    if (end.kind != EndKind::interrupted) store_.set_conclusion(study_.id, json.dump());
    const std::optional<double> overhead =
        trial_s > 0 ? std::optional(elapsed_s / trial_s - 1) : std::nullopt;
    ExitCode printed = ExitCode::done;
    if (json_) {
      Json document{{"schema", "kumihimo.sweep/1"},
                    {"study", study_.name},
                    {"settings", Json::parse(study_.settings)},
                    {"layouts", list.candidates.size()},
                    {"first_predictions_from", first_predictions_},
                    {"conclusion", json},
                    {"session_s", elapsed_s},
                    {"overhead", overhead ? Json(*overhead) : Json(nullptr)},
                    {"trials", Json::array()}};
      for (const Trial& trial : trials) document["trials"].push_back(trial_json(trial));
      printed = print(to_json_text(document));
    } else {
      const std::string beside =
          overhead ? fmt::format(", {:.1f} % beside the trials", 100 * *overhead) : "";
      printed = print(fmt::format("{}\n{}Ended: {}; {} in all{}\n", trials_table(trials, most_rows),
                                  conclusion_text(conclusion, best, clock()), end.reason,
                                  format_seconds(elapsed_s), beside));
    }
    if (printed != ExitCode::done) return printed;
    if (end.kind == EndKind::interrupted) return ExitCode::interrupted;
    if (best != nullptr || study.tried.empty()) return ExitCode::done;
    const bool memory = std::ranges::any_of(study.tried, [](const TriedCandidate& trial) {
      return trial.outcome.state == TrialState::out_of_memory;
    });
    return memory ? ExitCode::does_not_fit : ExitCode::environment;
  }

  static std::string first_predictions(const MeasuredHere& here) {
    if (!here.stack_measured) return here.stack.name;
    return fmt::format("what was {}{}", here.stack.origin,
                       here.from_store ? " (by an earlier session)" : "");
  }

  const SweepRequest& request_;
  Store& store_;
  Study study_;
  StackProfile base_;  ///< before any trial
  std::string base_origin_;
  std::string first_predictions_;  ///< base_origin_ for people
  bool json_;
  std::stop_token stop_;
  SteadyClock::time_point begin_ = SteadyClock::now();
};

/// --dry-run: the layouts by what is predicted of them. The store is not touched.
ExitCode list_only(const SweepRequest& request) {
  auto figures = measure_machine(request.rank_kind == SweepRanks::emulated ? 1 : request.ranks);
  Cluster cluster =
      cluster_of(figures, request.rank_kind == SweepRanks::emulated ? 1 : request.ranks,
                 request.device_memory);
  if (request.links) {
    const Device core = cluster.device;
    cluster = *request.links;
    cluster.device = core;
  }
  const CandidateList list = list_layouts(request, cluster);
  StudySoFar study(list.candidates);
  const StackProfile& base = request.strategy.base;
  const Beliefs beliefs = believe(study, base, base);
  Table table{{{"layout"}, {"step", Align::right}, {"fits", Align::right}}, {}};
  std::vector<std::size_t> order(list.candidates.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return beliefs.layouts[i].log_step_s; });
  for (const std::size_t i : order) {
    const Belief& belief = beliefs.layouts[i];
    table.rows.push_back({to_text(list.candidates[i].run.layout),
                          format_seconds(std::exp(belief.log_step_s)),
                          fmt::format("{:.0f} %", 100 * belief.fits_probability)});
  }
  return print(to_text(table));
}

ExitCode run_sweep(const Flags& flags, Errors faults) {
  const auto request = read_sweep(flags, faults);
  if (!request || !faults.empty()) return refuse(faults);
  const InterruptGuard guard;
  if (request->dry_run) return list_only(*request);
  auto store = Store::open(request->store, Database::Mode::read_write);
  if (!store) return refuse(store.errors());
  auto study = open_study(*request, *store);
  if (!study) return refuse(study.errors());
  const OwnedStudy owned(*store, study->id);
  return SweepSession(*request, *store, *study, flags.given("--json"), guard.token()).run();
}

}  // namespace

void register_sweep(CLI::App& program, CommandResult& result) {
  add_sweep_flags(add_command(
      program, result,
      {"sweep", "Find the best layout by a small real experiment that corrects the planner",
       example},
      run_sweep));
}

}  // namespace kumihimo
