#include "sweep/replay.hpp"

#include <algorithm>
#include <numeric>
#include <random>

#include "layout/layout_text.hpp"
#include "sweep/step_times.hpp"
#include "sweep/sureness.hpp"

namespace kumihimo {
namespace {

bool is_recorded(const PredictableRun& run) {
  if (!run.usable() || !run.run.suspect.empty()) return false;
  return run.run.status != RunStatus::ok || run.run.step_time_s.has_value();
}

TrialOutcome outcome_of(const std::vector<const PredictableRun*>& runs, const TrialCost& cost) {
  TrialOutcome outcome;
  std::vector<double> times, memory;
  for (const PredictableRun* run : runs) {
    if (run->run.status == RunStatus::ok) times.push_back(*run->run.step_time_s);
    if (run->run.memory_gb) memory.push_back(*run->run.memory_gb);
    if (run->run.status == RunStatus::out_of_memory) outcome.state = TrialState::out_of_memory;
  }
  outcome.duration_s = cost.start_up_s;
  if (!times.empty()) {
    outcome.state = TrialState::ok;
    outcome.step_time_s = median(times);
    outcome.duration_s += cost.steps * *outcome.step_time_s;
  }
  if (!memory.empty()) outcome.memory_gib = median(memory);
  outcome.device_hours = outcome.duration_s / 3600 * runs.front()->run.gpus;
  return outcome;
}

RecordedGroup collect_group(const RunGroup& group, const std::vector<const PredictableRun*>& runs,
                            const TrialCost& cost) {
  RecordedGroup recorded{.group = group, .rows = static_cast<std::int64_t>(runs.size())};
  std::map<std::string, std::size_t> places;
  std::vector<std::vector<const PredictableRun*>> by_layout;
  for (const PredictableRun* run : runs) {
    if (!is_recorded(*run)) {
      ++recorded.left_out;
      continue;
    }
    const auto [place, added] = places.try_emplace(to_text(run->run.layout), by_layout.size());
    if (added) by_layout.emplace_back();
    by_layout[place->second].push_back(run);
  }
  for (const auto& same : by_layout) {
    Candidate candidate = *same.front();
    candidate.run.step_time_s = candidate.run.memory_gb = candidate.run.mfu = std::nullopt;
    recorded.candidates.push_back(std::move(candidate));
    recorded.outcomes.push_back(outcome_of(same, cost));
    const TrialOutcome& outcome = recorded.outcomes.back();
    if (!outcome.ran()) continue;
    recorded.best_step_s = recorded.ran == 0 ? *outcome.step_time_s
                                             : std::min(recorded.best_step_s, *outcome.step_time_s);
    ++recorded.ran;
  }
  return recorded;
}

/// Of the closing statement.
constexpr double stated_margin = 0.01;

/// Goes on after the strategy has stopped, in its own order of preference where it has one.
class PlaysOn : public Strategy {
 public:
  explicit PlaysOn(const StrategyOptions& options) {
    StrategyOptions to_the_end = options;
    to_the_end.tolerance = -1;
    strategy_ = make_strategy(to_the_end);
    tolerance_ = options.tolerance;
    base_ = options.base;
    guided_ = options.kind == StrategyKind::guided;
  }
  Choice next(const StudySoFar& study) override {
    Choice choice = strategy_->next(study);
    if (strategy_->beliefs() != nullptr && !study.tried.empty()) {
      sureness_.push_back(sureness(study, base_, *strategy_->beliefs(), stated_margin));
    }
    const bool stops = guided_ && choice.candidate && study.best() != nullptr &&
                       choice.expected_improvement < tolerance_;
    if (!stopped_ && (stops || !choice.candidate)) {
      stopped_ = study.tried.size();
    }
    // Once both are known, what remains would only cost time.
    if (stopped_ && found_) choice.candidate = std::nullopt;
    return choice;
  }
  void found() { found_ = true; }
  std::size_t stopped_at(std::size_t all) const { return stopped_.value_or(all); }
  /// After each trial; empty for strategies that do not think.
  const std::vector<double>& sureness_after() const { return sureness_; }

 private:
  std::unique_ptr<Strategy> strategy_;
  StackProfile base_;
  double tolerance_ = 0;
  bool guided_ = false, found_ = false;
  std::optional<std::size_t> stopped_;
  std::vector<double> sureness_;
};

}  // namespace

std::vector<RecordedGroup> recorded_groups(std::span<const PredictableRun> runs,
                                           const TrialCost& cost, std::size_t least) {
  std::map<RunGroup, std::vector<const PredictableRun*>> groups;
  for (const PredictableRun& run : runs) groups[group_of(run.run)].push_back(&run);
  std::vector<RecordedGroup> recorded;
  for (const auto& [group, members] : groups) {
    RecordedGroup one = collect_group(group, members, cost);
    if (one.ran >= least) recorded.push_back(std::move(one));
  }
  return recorded;
}

RecordedGroup random_part(const RecordedGroup& group, double share, std::uint64_t seed) {
  RecordedGroup part{.group = group.group, .rows = group.rows, .left_out = group.left_out};
  std::vector<std::size_t> order(group.candidates.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937_64 numbers(seed);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[numbers() % i]);
  constexpr std::size_t least = 4;
  const auto wanted = static_cast<std::size_t>(share * static_cast<double>(order.size()));
  for (const std::size_t i : order) {
    if (part.candidates.size() >= wanted && part.ran >= least) break;
    part.candidates.push_back(group.candidates[i]);
    part.outcomes.push_back(group.outcomes[i]);
    const TrialOutcome& outcome = group.outcomes[i];
    if (!outcome.ran()) continue;
    part.best_step_s =
        part.ran == 0 ? *outcome.step_time_s : std::min(part.best_step_s, *outcome.step_time_s);
    ++part.ran;
  }
  return part;
}

ReplayRun replay(const RecordedGroup& group, const StrategyOptions& options) {
  constexpr double close = 0.01;
  StudySoFar study(group.candidates);
  PlaysOn strategy(options);
  RecordedRunner runner(group);
  ReplayRun result;
  LoopHooks hooks;
  hooks.after = [&](const TriedCandidate&, const Strategy&) {
    const TriedCandidate* best = study.best();
    const double regret = best == nullptr ? 1 : 1 - group.best_step_s / *best->outcome.step_time_s;
    result.regret.push_back(regret);
    result.device_hours.push_back(study.device_hours());
    if (regret <= close && result.trials_to_1_percent == 0) {
      result.trials_to_1_percent = static_cast<std::int64_t>(study.tried.size());
      result.device_hours_to_1_percent = study.device_hours();
      strategy.found();
    }
  };
  run_study(study, strategy, runner, Budget{}, hooks);
  const std::size_t stop = strategy.stopped_at(study.tried.size());
  result.trials_at_stop = static_cast<std::int64_t>(stop);
  result.regret_at_stop = stop == 0 ? 1 : result.regret[stop - 1];
  result.device_hours_at_stop = stop == 0 ? 0 : result.device_hours[stop - 1];
  result.sureness = strategy.sureness_after();
  for (std::size_t i = 0; i < result.sureness.size(); ++i) {
    result.sure_rightly.push_back(result.regret[i] <= 1 - 1 / (1 + stated_margin));
  }
  if (stop > 0 && stop <= result.sureness.size())
    result.sureness_at_stop = result.sureness[stop - 1];
  return result;
}

}  // namespace kumihimo
