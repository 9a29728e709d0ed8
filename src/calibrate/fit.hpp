#pragma once

#include <span>
#include <string>
#include <vector>

#include "calibrate/run_predictor.hpp"

namespace kumihimo {

/// Why a parameter has the value it has after a fit.
enum class Identification {
  fitted,         ///< the runs say more about it than the prior did
  weak,           ///< fitted, but the prior still decides much of it
  sibling,        ///< of a kernel that no run used: moved as far as its other version was fitted
  unconstrained,  ///< the runs say nothing about it: the base profile's value is kept
};

struct FittedParameter {
  std::string key;
  double base = 0;
  double value = 0;
  double log_spread = 0;  ///< one standard deviation of its logarithm, after the fit
  Identification identification = Identification::unconstrained;
};

struct FitReport {
  StackProfile profile;
  std::vector<FittedParameter> parameters;
  int time_runs = 0;    ///< runs with a step time
  int memory_runs = 0;  ///< runs with a memory figure or an outcome (ok, oom)
};

/// Fits the rates of `base` to measured step times, and its memory constants to measured memory
/// and out-of-memory outcomes. Robust non-linear least squares (Ceres) on the logarithm of step
/// time; every parameter has a log-normal prior around the base profile, so that what the runs do
/// not constrain stays where it was, and is reported as such. FlashAttention 1 and 2 are one
/// algorithm: where runs used only one of them, the other keeps the base's ratio to it.
FitReport fit_profile(std::span<const PredictableRun> runs, const StackProfile& base);

/// Standard deviation that would give the median absolute deviation seen: outliers do not widen it.
double robust_spread(std::vector<double> errors);

}  // namespace kumihimo
