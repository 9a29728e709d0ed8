#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "calibrate/validation.hpp"

// Validation on runs that took no part in the fit. Runs that look doubtful are never fitted to. A
// base that has seen the runs is not trusted with them: its fits start from without_fit(base).

namespace kumihimo {

/// Whether the profile's evidence names the file of one of the runs: its rates know those runs, and
/// a fit that starts from them predicts nothing that it has not seen.
bool has_seen(const StackProfile& profile, std::span<const PredictableRun> runs);

/// What the framework does (the defaults) and what no fit has touched, with the uncalibrated value
/// of every parameter that one has (those that state a spread). Evidence and spreads are gone.
StackProfile without_fit(StackProfile profile);

struct HeldOut {
  /// One for each run; a run that was fitted to comes as skipped.
  std::vector<RunPrediction> predictions;
  std::int64_t fitted_runs = 0;
  std::int64_t fits = 0;  ///< how many profiles were fitted
  /// The base had seen the runs: fits started from without_fit of it.
  bool started_without_fit = false;
};

/// Called with the fits done and their number.
using FitProgress = std::function<void(std::int64_t done, std::int64_t total)>;

/// Whether a fit can use the run: it can be predicted, its outcome is known, nothing is doubtful.
bool is_fittable(const PredictableRun& run);

/// Indices of `count` random timed runs of each group, in ascending order. Groups of fewer than
/// twice `count` such runs are pooled with the others of their sheet, and at most half of a group
/// or pool is drawn, so that each leaves something to validate on. The same on every platform for
/// the same seed.
std::vector<std::size_t> draw_runs(std::span<const PredictableRun> runs, std::int64_t count,
                                   std::uint64_t seed);

/// Fits one profile on draw_runs and predicts the others with it. An error if nothing is drawn.
Expected<HeldOut> fit_on(std::span<const PredictableRun> runs, const StackProfile& base,
                         std::int64_t count, std::uint64_t seed, const FitProgress& progress = {});

/// Splits the runs that a fit can use into `parts` random ones, each predicted by a profile fitted
/// on the others; other runs come as skipped. The same on every platform. An error if a part would
/// be left without a timed run.
Expected<HeldOut> leave_parts_out(std::span<const PredictableRun> runs, const StackProfile& base,
                                  std::int64_t parts, const FitProgress& progress = {});

/// Predicts each sheet by a profile fitted on all the others. An error if fewer than two sheets
/// have runs that a fit can use.
Expected<HeldOut> leave_one_sheet_out(std::span<const PredictableRun> runs,
                                      const StackProfile& base, const FitProgress& progress = {});

}  // namespace kumihimo
