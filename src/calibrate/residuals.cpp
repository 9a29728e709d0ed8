#include "calibrate/residuals.hpp"

#include <algorithm>
#include <ceres/dynamic_numeric_diff_cost_function.h>
#include <cmath>
#include <utility>

#include "base/normal.hpp"

namespace kumihimo {
namespace {

/// Spread of log memory where only the outcome is known: that a run fitted, or did not.
constexpr double outcome_noise = 0.03;

class StepTimeResidual : public ceres::CostFunction {
 public:
  StepTimeResidual(const PredictableRun& run, const FreeParameters& free, double noise)
      : run_(run), free_(free), noise_(noise) {
    mutable_parameter_block_sizes()->push_back(static_cast<int>(free.parameters.size()));
    set_num_residuals(1);
  }

  bool Evaluate(double const* const* logs, double* residual, double** jacobians) const override {
    const bool differentiate = jacobians != nullptr && jacobians[0] != nullptr;
    const SimulatedStep played = simulate(run_.schedule, step_cost(run_, free_.profile_at(logs[0])),
                                          differentiate ? Keep::path : Keep::nothing);
    residual[0] = std::log(played.step_s / *run_.run.step_time_s) / noise_;
    if (differentiate) differentiate_along(played.path, logs[0], jacobians[0]);
    return std::isfinite(residual[0]);
  }

 private:
  /// By central differences of the costs: which path is the longest is taken to stay.
  void differentiate_along(const CriticalPath& path, const double* logs,
                           double* derivatives) const {
    constexpr double move = 1e-5;
    const std::size_t count = free_.parameters.size();
    std::vector<double> moved(logs, logs + count);
    const auto log_time_at = [&](std::size_t i, double log) {
      moved[i] = log;
      return std::log(step_time_along(path, step_cost(run_, free_.profile_at(moved.data()))));
    };
    for (std::size_t i = 0; i < count; ++i) {
      const double above = log_time_at(i, logs[i] + move);
      const double below = log_time_at(i, logs[i] - move);
      moved[i] = logs[i];
      derivatives[i] = (above - below) / (2 * move) / noise_;
    }
  }

  const PredictableRun& run_;
  FreeParameters free_;
  double noise_;
};

class MemoryResidual {
 public:
  MemoryResidual(const PredictableRun& run, const FreeParameters& free, double noise)
      : run_(run), free_(free), noise_(noise) {}

  bool operator()(double const* const* logs, double* residual) const {
    residual[0] = residual_of(predict_peak_memory(run_, free_.profile_at(logs[0])));
    return std::isfinite(residual[0]);
  }

 private:
  double residual_of(double predicted_bytes) const {
    const MeasuredRun& run = run_.run;
    if (run.memory_gb) return std::log(predicted_bytes / (*run.memory_gb * GiB)) / noise_;
    // Probit: how surprising the outcome is.
    const double room =
        std::log(static_cast<double>(run_.cluster.device.memory) / predicted_bytes) / outcome_noise;
    const double probability = normal_cdf(run.status == RunStatus::ok ? room : -room);
    return std::sqrt(-2 * std::log(std::max(probability, 1e-12)));
  }

  const PredictableRun& run_;
  FreeParameters free_;
  double noise_;
};

class Prior {
 public:
  Prior(const FreeParameters& free, std::vector<double> centre)
      : free_(free), centre_(std::move(centre)) {}

  bool operator()(double const* const* logs, double* residuals) const {
    for (std::size_t i = 0; i < centre_.size(); ++i) {
      residuals[i] = (logs[0][i] - centre_[i]) / free_.parameters[i].prior_spread;
    }
    return true;
  }

 private:
  FreeParameters free_;
  std::vector<double> centre_;
};

template <class Functor>
std::unique_ptr<ceres::CostFunction> by_differences(std::unique_ptr<Functor> functor,
                                                    const FreeParameters& free,
                                                    std::size_t residuals) {
  auto cost = std::make_unique<ceres::DynamicNumericDiffCostFunction<Functor>>(functor.release());
  cost->AddParameterBlock(static_cast<int>(free.parameters.size()));
  cost->SetNumResiduals(static_cast<int>(residuals));
  return cost;
}

}  // namespace

StackProfile FreeParameters::profile_at(const double* logs) const {
  StackProfile profile = base;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    profile.*parameters[i].member = std::exp(logs[i]);
  }
  return profile;
}

std::unique_ptr<ceres::CostFunction> step_time_residual(const PredictableRun& run,
                                                        const FreeParameters& free, double noise) {
  return std::make_unique<StepTimeResidual>(run, free, noise);
}

std::unique_ptr<ceres::CostFunction> memory_residual(const PredictableRun& run,
                                                     const FreeParameters& free, double noise) {
  return by_differences(std::make_unique<MemoryResidual>(run, free, noise), free, 1);
}

std::unique_ptr<ceres::CostFunction> prior_residuals(const FreeParameters& free,
                                                     std::vector<double> centre) {
  const std::size_t count = centre.size();
  return by_differences(std::make_unique<Prior>(free, std::move(centre)), free, count);
}

}  // namespace kumihimo
