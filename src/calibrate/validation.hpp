#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "calibrate/run_predictor.hpp"

// Predictions judged by measured runs. Errors are |predicted / measured - 1| of step time.

namespace kumihimo {

/// Runs that a user would choose among: the same job on as many devices of the same machine.
struct RunGroup {
  std::string file;
  std::string sheet;  ///< part of the row's id before '#'; without one, its source
  std::string model;
  int gpus = 0;
  std::int64_t seq_length = 0;
  std::int64_t global_batch_size = 0;

  auto operator<=>(const RunGroup&) const = default;
};

RunGroup group_of(const MeasuredRun& run);

enum class PredictedStatus {
  ok,
  out_of_memory,  ///< that it fits is less likely than not
  infeasible,     ///< the layout contradicts the model or the machine
  skipped,        ///< the row does not say enough, or took part in the fit
};

struct RunPrediction {
  PredictedStatus status = PredictedStatus::skipped;
  double step_s = 0;  ///< this and the next two: 0 unless ok or out_of_memory
  double memory_gib = 0;
  double mfu = 0;      ///< full attention count
  std::string reason;  ///< why there are no figures

  bool has_figures() const {
    return status == PredictedStatus::ok || status == PredictedStatus::out_of_memory;
  }
};

/// One prediction for each run.
std::vector<RunPrediction> predict_runs(std::span<const PredictableRun> runs,
                                        const StackProfile& profile);

struct ErrorSummary {
  std::int64_t runs = 0;  ///< the others are 0 without runs
  double mape = 0;
  double median = 0;  ///< of an even number, the upper of the two in the middle
  double p90 = 0;     ///< the error that nine in ten runs stay below
};

/// Rows with known outcome (ok with a step time, oom) by what was predicted.
struct MemoryJudgement {
  std::int64_t hits = 0;          ///< ran out of memory, as predicted
  std::int64_t misses = 0;        ///< ran out of memory, predicted to fit
  std::int64_t false_alarms = 0;  ///< ran, predicted not to fit
  std::int64_t passes = 0;        ///< ran, as predicted

  std::int64_t rows() const { return hits + misses + false_alarms + passes; }
  std::int64_t out_of_memory() const { return hits + misses; }
  // Nothing where there is nothing to divide by.
  std::optional<double> accuracy() const;
  std::optional<double> precision() const;
  std::optional<double> recall() const;
};

/// What choosing by the prediction costs: the best measured MFU less that of the layout that is
/// predicted fastest among those that ran and are predicted to fit (among all, if none is).
struct Regret {
  double value = 0;       ///< a share: 0.003 is 0.3 MFU points
  bool relative = false;  ///< some run states no MFU: share of the best throughput instead
  std::string pick;       ///< id of the chosen run
  std::string best;       ///< id of the fastest one
};

struct GroupReport {
  RunGroup group;
  std::int64_t rows = 0;
  std::int64_t used = 0;                        ///< for time or memory
  std::map<std::string, std::int64_t> skipped;  ///< the others, by reason
  ErrorSummary error;
  MemoryJudgement memory;
  // From four timed runs on.
  std::optional<double> spearman;  ///< nothing if all times are equal
  std::optional<Regret> regret;
  /// Whether the layout that is predicted fastest among those predicted to fit ran out of memory.
  std::optional<bool> own_pick_out_of_memory;
};

struct ValidationReport {
  std::vector<GroupReport> groups;  ///< in the order of RunGroup
  std::int64_t rows = 0;
  std::int64_t used = 0;
  std::map<std::string, std::int64_t> skipped;
  ErrorSummary error;          ///< of all timed runs, the next two included
  ErrorSummary suspect_error;  ///< of rows that look doubtful (MeasuredRun::suspect)
  ErrorSummary derived_error;  ///< of rows whose step time follows from their tokens/s
  MemoryJudgement memory;
  // Means over the groups that have the figure.
  std::optional<double> mean_spearman;
  std::optional<double> mean_regret, max_regret;                    ///< in MFU
  std::optional<double> mean_relative_regret, max_relative_regret;  ///< where MFU is not stated
  std::int64_t own_picks = 0, own_picks_out_of_memory = 0;
};

/// Judges predictions, one for each run. A row that took part in a fit should come as skipped.
ValidationReport judge(std::span<const PredictableRun> runs,
                       std::span<const RunPrediction> predictions);

/// The runs as `profile` predicts them, judged.
ValidationReport validate(std::span<const PredictableRun> runs, const StackProfile& profile);

}  // namespace kumihimo
