#include "calibrate/validation.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runs/spellings.hpp"

namespace kumihimo {
namespace {

/// Fewer runs have no order worth judging.
constexpr std::size_t least_ranked_runs = 4;

constexpr double least_probability = 0.5;

bool is_timed(const MeasuredRun& run) {
  return run.status == RunStatus::ok && run.step_time_s.has_value();
}

bool has_derived_time(const MeasuredRun& run) {
  return std::any_of(
      run.assumptions.begin(), run.assumptions.end(),
      [](const std::string& assumption) { return assumption.starts_with("step_time_s "); });
}

std::optional<double> share(std::int64_t part, std::int64_t whole) {
  if (whole == 0) return std::nullopt;
  return static_cast<double>(part) / static_cast<double>(whole);
}

RunPrediction predict_run(const PredictableRun& run, const StackProfile& profile) {
  if (!run.usable()) {
    // Without a machine, or with cells missing, the layout was never looked at.
    const bool judged = run.run.usable() && run.cluster.devices_per_node > 0;
    return {.status = judged ? PredictedStatus::infeasible : PredictedStatus::skipped,
            .reason = run.reason};
  }
  const Prediction prediction = predict(run, profile);
  if (!std::isfinite(prediction.step_s) || prediction.step_s <= 0) {
    return {.reason = "no finite step time is predicted"};
  }
  return {.status = prediction.fits_probability < least_probability ? PredictedStatus::out_of_memory
                                                                    : PredictedStatus::ok,
          .step_s = prediction.step_s,
          .memory_gib = prediction.peak_memory_bytes / GiB,
          .mfu = prediction.mfu};
}

ErrorSummary summarise(std::vector<double> errors) {
  if (errors.empty()) return {};
  std::sort(errors.begin(), errors.end());
  const double total = std::accumulate(errors.begin(), errors.end(), 0.0);
  return {.runs = static_cast<std::int64_t>(errors.size()),
          .mape = total / static_cast<double>(errors.size()),
          .median = errors[errors.size() / 2],
          .p90 = errors[errors.size() * 9 / 10]};
}

/// Ranks from 0, equal values sharing the mean of theirs.
std::vector<double> average_ranks(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t last = first;
    while (last + 1 < order.size() && values[order[last + 1]] == values[order[first]]) ++last;
    for (std::size_t i = first; i <= last; ++i) {
      ranks[order[i]] = static_cast<double>(first + last) / 2;
    }
    first = last + 1;
  }
  return ranks;
}

std::optional<double> correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const double count = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / count;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / count;
  double both = 0, square_a = 0, square_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    both += (a[i] - mean_a) * (b[i] - mean_b);
    square_a += (a[i] - mean_a) * (a[i] - mean_a);
    square_b += (b[i] - mean_b) * (b[i] - mean_b);
  }
  if (square_a == 0 || square_b == 0) return std::nullopt;
  return both / std::sqrt(square_a * square_b);
}

struct Judged {
  const MeasuredRun* run;
  const RunPrediction* prediction;

  double error() const { return std::abs(prediction->step_s / *run->step_time_s - 1); }
};

std::optional<double> rank_correlation(const std::vector<Judged>& timed) {
  std::vector<double> predicted, measured;
  for (const Judged& judged : timed) {
    predicted.push_back(judged.prediction->step_s);
    measured.push_back(*judged.run->step_time_s);
  }
  return correlation(average_ranks(predicted), average_ranks(measured));
}

Regret regret_of(const std::vector<Judged>& timed) {
  const bool relative = std::any_of(timed.begin(), timed.end(),
                                    [](const Judged& judged) { return !judged.run->mfu; });
  const auto worth = [&](const Judged& judged) {
    return relative ? 1 / *judged.run->step_time_s : *judged.run->mfu;
  };
  const auto best =
      std::max_element(timed.begin(), timed.end(),
                       [&](const Judged& a, const Judged& b) { return worth(a) < worth(b); });
  const auto before = [](const Judged& a, const Judged& b) {
    const bool a_fits = a.prediction->status == PredictedStatus::ok;
    const bool b_fits = b.prediction->status == PredictedStatus::ok;
    return a_fits != b_fits ? a_fits : a.prediction->step_s < b.prediction->step_s;
  };
  const auto pick = std::min_element(timed.begin(), timed.end(), before);
  const double loss = worth(*best) - worth(*pick);
  return {.value = relative ? loss / worth(*best) : loss,
          .relative = relative,
          .pick = pick->run->id,
          .best = best->run->id};
}

/// Whether the fastest of those predicted to fit ran out of memory; of equal ones, the one that
/// ran is taken.
std::optional<bool> own_pick_out_of_memory(const std::vector<Judged>& members) {
  const Judged* pick = nullptr;
  for (const Judged& judged : members) {
    if (judged.prediction->status != PredictedStatus::ok) continue;
    if (judged.run->status == RunStatus::error) continue;
    const bool ran = judged.run->status == RunStatus::ok;
    if (pick == nullptr || judged.prediction->step_s < pick->prediction->step_s ||
        (judged.prediction->step_s == pick->prediction->step_s && ran)) {
      pick = &judged;
    }
  }
  if (pick == nullptr) return std::nullopt;
  return pick->run->status == RunStatus::out_of_memory;
}

/// Why a row says nothing about its prediction; empty if it does.
std::string reason_to_skip(const Judged& judged) {
  if (judged.run->status == RunStatus::error) return "failed, cause not stated";
  if (!judged.prediction->has_figures()) return judged.prediction->reason;
  if (judged.run->status == RunStatus::ok && !judged.run->step_time_s) return "no step time stated";
  return {};
}

GroupReport judge_group(const RunGroup& group, const std::vector<Judged>& members) {
  GroupReport report{.group = group, .rows = static_cast<std::int64_t>(members.size())};
  std::vector<Judged> timed;
  std::vector<double> errors;
  for (const Judged& judged : members) {
    const std::string reason = reason_to_skip(judged);
    if (!reason.empty()) {
      ++report.skipped[reason];
      continue;
    }
    ++report.used;
    const bool fits = judged.prediction->status == PredictedStatus::ok;
    if (judged.run->status == RunStatus::out_of_memory) {
      ++(fits ? report.memory.misses : report.memory.hits);
      continue;
    }
    ++(fits ? report.memory.passes : report.memory.false_alarms);
    timed.push_back(judged);
    errors.push_back(judged.error());
  }
  report.error = summarise(std::move(errors));
  if (timed.size() >= least_ranked_runs) {
    report.spearman = rank_correlation(timed);
    report.regret = regret_of(timed);
  }
  report.own_pick_out_of_memory = own_pick_out_of_memory(members);
  return report;
}

class Mean {
 public:
  void add(double value) {
    total_ += value;
    most_ = std::max(most_, value);
    ++count_;
  }
  std::optional<double> mean() const {
    if (count_ == 0) return std::nullopt;
    return total_ / count_;
  }
  std::optional<double> most() const {
    if (count_ == 0) return std::nullopt;
    return most_;
  }

 private:
  double total_ = 0, most_ = 0;
  int count_ = 0;
};

/// Everything of the report that its groups say.
void add_up_groups(ValidationReport& report) {
  Mean spearman, regret, relative_regret;
  for (const GroupReport& group : report.groups) {
    report.rows += group.rows;
    report.used += group.used;
    for (const auto& [reason, rows] : group.skipped) report.skipped[reason] += rows;
    report.memory.hits += group.memory.hits;
    report.memory.misses += group.memory.misses;
    report.memory.false_alarms += group.memory.false_alarms;
    report.memory.passes += group.memory.passes;
    if (group.spearman) spearman.add(*group.spearman);
    if (group.regret) (group.regret->relative ? relative_regret : regret).add(group.regret->value);
    if (group.own_pick_out_of_memory) {
      ++report.own_picks;
      report.own_picks_out_of_memory += *group.own_pick_out_of_memory ? 1 : 0;
    }
  }
  report.mean_spearman = spearman.mean();
  report.mean_regret = regret.mean();
  report.max_regret = regret.most();
  report.mean_relative_regret = relative_regret.mean();
  report.max_relative_regret = relative_regret.most();
}

}  // namespace

RunGroup group_of(const MeasuredRun& run) {
  const std::size_t mark = run.id.find('#');
  return {
      .file = run.file,
      .sheet = mark == std::string::npos ? run.source : std::string(trim(run.id.substr(0, mark))),
      .model = run.job.model.name,
      .gpus = run.gpus,
      .seq_length = run.job.seq_length,
      .global_batch_size = run.job.global_batch_size};
}

std::vector<RunPrediction> predict_runs(std::span<const PredictableRun> runs,
                                        const StackProfile& profile) {
  std::vector<RunPrediction> predictions;
  predictions.reserve(runs.size());
  for (const PredictableRun& run : runs) predictions.push_back(predict_run(run, profile));
  return predictions;
}

std::optional<double> MemoryJudgement::accuracy() const { return share(hits + passes, rows()); }
std::optional<double> MemoryJudgement::precision() const {
  return share(hits, hits + false_alarms);
}
std::optional<double> MemoryJudgement::recall() const { return share(hits, out_of_memory()); }

ValidationReport judge(std::span<const PredictableRun> runs,
                       std::span<const RunPrediction> predictions) {
  KUMIHIMO_CHECK(runs.size() == predictions.size());
  std::map<RunGroup, std::vector<Judged>> groups;
  std::vector<double> errors, suspect_errors, derived_errors;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Judged judged{&runs[i].run, &predictions[i]};
    groups[group_of(*judged.run)].push_back(judged);
    if (!is_timed(*judged.run) || !judged.prediction->has_figures()) continue;
    errors.push_back(judged.error());
    if (!judged.run->suspect.empty()) suspect_errors.push_back(judged.error());
    if (has_derived_time(*judged.run)) derived_errors.push_back(judged.error());
  }
  ValidationReport report;
  for (const auto& [group, members] : groups) report.groups.push_back(judge_group(group, members));
  add_up_groups(report);
  report.error = summarise(std::move(errors));
  report.suspect_error = summarise(std::move(suspect_errors));
  report.derived_error = summarise(std::move(derived_errors));
  return report;
}

ValidationReport validate(std::span<const PredictableRun> runs, const StackProfile& profile) {
  return judge(runs, predict_runs(runs, profile));
}

}  // namespace kumihimo
