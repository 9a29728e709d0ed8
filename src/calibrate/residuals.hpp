#pragma once

#include <memory>
#include <span>
#include <vector>

#include "calibrate/run_predictor.hpp"

namespace ceres {
class CostFunction;
}

namespace kumihimo {

/// What the parameters of a fit are: members of `base`, of which a solver moves the logarithms.
struct FreeParameters {
  const StackProfile& base;
  std::span<const ProfileParameter> parameters;

  StackProfile profile_at(const double* logs) const;
};

// Residuals as functions of these logarithms, in units of `noise`: the spread that a good model
// leaves on clean runs. What they are made of must outlive them.

/// log(predicted / measured step time) of a run that has one. Its derivatives are those of the
/// run's critical path: one simulation gives them all.
std::unique_ptr<ceres::CostFunction> step_time_residual(const PredictableRun& run,
                                                        const FreeParameters& free, double noise);

/// log(predicted / measured memory); without a figure, how surprising it is that the run fitted, or
/// that it did not.
std::unique_ptr<ceres::CostFunction> memory_residual(const PredictableRun& run,
                                                     const FreeParameters& free, double noise);

/// How far each parameter has moved from `centre`, in units of its prior spread.
std::unique_ptr<ceres::CostFunction> prior_residuals(const FreeParameters& free,
                                                     std::vector<double> centre);

}  // namespace kumihimo
