#include "calibrate/fit.hpp"

#include <algorithm>
#include <array>
#include <ceres/ceres.h>
#include <cmath>
#include <thread>

#include "base/normal.hpp"
#include "cost/extrapolation.hpp"

namespace kumihimo {
namespace {

/// Spread of log step time (or memory) that a good model leaves on clean runs; beyond a few of
/// these a run is an outlier and pulls no harder. A base profile may be far from the runs, and then
/// all would look like outliers: the fit starts with a wide spread and narrows it.
constexpr std::array narrowing_noise{0.20, 0.06, 0.02};
constexpr double final_noise = narrowing_noise.back();

/// Spread of log memory where only the outcome is known: that a run fitted, or did not.
constexpr double outcome_noise = 0.03;

bool is_memory(const ProfileParameter& parameter) {
  return parameter.key.substr(0, 7) == "memory.";
}

StackProfile with_logs(StackProfile profile, std::span<const ProfileParameter> parameters,
                       const double* logs) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    profile.*parameters[i].member = std::exp(logs[i]);
  }
  return profile;
}

/// One run's residuals as a function of the logarithms of the free parameters.
class RunResidual {
 public:
  RunResidual(const PredictableRun& run, const StackProfile& base,
              std::span<const ProfileParameter> parameters, bool memory, double noise)
      : run_(run), base_(base), parameters_(parameters), memory_(memory), noise_(noise) {}

  bool operator()(double const* const* logs, double* residual) const {
    const StackProfile profile = with_logs(base_, parameters_, logs[0]);
    const Prediction prediction = predict(run_, profile);
    residual[0] = memory_ ? memory_residual(prediction)
                          : std::log(prediction.step_s / *run_.run.step_time_s) / noise_;
    return std::isfinite(residual[0]);
  }

 private:
  double memory_residual(const Prediction& prediction) const {
    const MeasuredRun& run = run_.run;
    if (run.memory_gb) {
      return std::log(prediction.peak_memory_bytes / (*run.memory_gb * GiB)) / noise_;
    }
    // Probit: how surprising the outcome is.
    const double room =
        std::log(static_cast<double>(run_.cluster.device.memory) / prediction.peak_memory_bytes) /
        outcome_noise;
    const double probability = normal_cdf(run.status == RunStatus::ok ? room : -room);
    return std::sqrt(-2 * std::log(std::max(probability, 1e-12)));
  }

  const PredictableRun& run_;
  const StackProfile& base_;
  std::span<const ProfileParameter> parameters_;
  bool memory_;
  double noise_;
};

class Prior {
 public:
  Prior(std::span<const ProfileParameter> parameters, std::vector<double> centre)
      : parameters_(parameters), centre_(std::move(centre)) {}

  bool operator()(double const* const* logs, double* residuals) const {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      residuals[i] = (logs[0][i] - centre_[i]) / parameters_[i].prior_spread;
    }
    return true;
  }

 private:
  std::span<const ProfileParameter> parameters_;
  std::vector<double> centre_;
};

/// One least-squares problem: the parameters of one kind (rates, or memory) and the runs that say
/// something about them.
class Problem {
 public:
  Problem(std::vector<const PredictableRun*> runs, const StackProfile& base, bool memory)
      : runs_(std::move(runs)), base_(base), memory_(memory) {
    for (const ProfileParameter& parameter : profile_parameters()) {
      if (is_memory(parameter) == memory) candidates_.push_back(parameter);
    }
  }

  void solve(FitReport& report) {
    drop_unconstrained();
    std::vector<double> logs = base_logs();
    const std::vector<double> centre = logs;
    if (!free_.empty() && !runs_.empty()) {
      for (const double noise : narrowing_noise) narrow(logs, centre, noise);
    }
    write(report, logs);
  }

 private:
  /// Moves `logs` to the optimum for one spread of the runs.
  void narrow(std::vector<double>& logs, const std::vector<double>& centre, double noise) {
    ceres::Problem problem;
    add_blocks(problem, logs.data(), centre, noise);
    for (std::size_t i = 0; i < free_.size(); ++i) {
      problem.SetParameterLowerBound(logs.data(), static_cast<int>(i), std::log(free_[i].lower));
      problem.SetParameterUpperBound(logs.data(), static_cast<int>(i), std::log(free_[i].upper));
    }
    const bool last = noise == final_noise;
    ceres::Solver::Options options;
    options.linear_solver_type = ceres::DENSE_QR;
    options.max_num_iterations = last ? 40 : 10;
    options.function_tolerance = last ? 1e-6 : 1e-3;
    options.num_threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    options.logging_type = ceres::SILENT;
    ceres::Solver::Summary summary;
    ceres::Solve(options, &problem, &summary);
    if (last) spreads_ = posterior_spreads(problem, logs.data());
  }

  std::vector<double> base_logs() const {
    std::vector<double> logs;
    for (const ProfileParameter& parameter : free_) {
      logs.push_back(
          std::log(std::clamp(base_.*parameter.member, parameter.lower, parameter.upper)));
    }
    return logs;
  }

  /// Keeps a parameter only if some run's prediction moves with it by more than its own noise when
  /// it moves by its prior spread, to either side.
  void drop_unconstrained() {
    std::vector<double> at_base;
    for (const PredictableRun* run : runs_) at_base.push_back(value(predict(*run, base_)));
    for (const ProfileParameter& parameter : candidates_) {
      const auto informs = [&](double log_move) {
        return information(parameter, log_move, at_base) > 0.5;
      };
      if (informs(parameter.prior_spread) || informs(-parameter.prior_spread)) {
        free_.push_back(parameter);
      }
    }
  }

  double value(const Prediction& prediction) const {
    return memory_ ? prediction.peak_memory_bytes : prediction.step_s;
  }

  /// Squares of what moving the parameter changes in the runs, in units of their noise.
  double information(const ProfileParameter& parameter, double log_move,
                     const std::vector<double>& at_base) const {
    StackProfile moved = base_;
    moved.*parameter.member =
        std::clamp(base_.*parameter.member * std::exp(log_move), parameter.lower, parameter.upper);
    double sum = 0;
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      const double in_noise = std::log(value(predict(*runs_[i], moved)) / at_base[i]) / final_noise;
      sum += in_noise * in_noise;
    }
    return sum;
  }

  void add_blocks(ceres::Problem& problem, double* logs, const std::vector<double>& centre,
                  double noise) {
    const int count = static_cast<int>(free_.size());
    for (const PredictableRun* run : runs_) {
      auto* cost = new ceres::DynamicNumericDiffCostFunction<RunResidual>(
          new RunResidual(*run, base_, free_, memory_, noise));
      cost->AddParameterBlock(count);
      cost->SetNumResiduals(1);
      problem.AddResidualBlock(cost, new ceres::CauchyLoss(2.0), logs);
    }
    auto* prior = new ceres::DynamicNumericDiffCostFunction<Prior>(new Prior(free_, centre));
    prior->AddParameterBlock(count);
    prior->SetNumResiduals(count);
    problem.AddResidualBlock(prior, nullptr, logs);
  }

  std::vector<double> posterior_spreads(ceres::Problem& problem, const double* logs) const {
    std::vector<double> spreads(free_.size(), 0);
    ceres::Covariance::Options options;
    options.algorithm_type = ceres::DENSE_SVD;
    options.null_space_rank = -1;
    ceres::Covariance covariance(options);
    const std::vector<std::pair<const double*, const double*>> blocks{{logs, logs}};
    if (!covariance.Compute(blocks, &problem)) return spreads;
    std::vector<double> matrix(free_.size() * free_.size());
    covariance.GetCovarianceBlock(logs, logs, matrix.data());
    for (std::size_t i = 0; i < free_.size(); ++i) {
      spreads[i] = std::sqrt(std::max(0.0, matrix[i * free_.size() + i]));
    }
    return spreads;
  }

  void write(FitReport& report, const std::vector<double>& logs) const {
    for (const ProfileParameter& parameter : candidates_) {
      FittedParameter fitted{.key = std::string(parameter.key),
                             .base = base_.*parameter.member,
                             .value = base_.*parameter.member,
                             .log_spread = parameter.prior_spread};
      const auto found =
          std::find_if(free_.begin(), free_.end(),
                       [&](const ProfileParameter& free) { return free.key == parameter.key; });
      if (found != free_.end() && !spreads_.empty()) {
        const std::size_t i = static_cast<std::size_t>(found - free_.begin());
        fitted.value = std::exp(logs[i]);
        fitted.log_spread = spreads_[i];
        fitted.identification = spreads_[i] < 0.5 * parameter.prior_spread ? Identification::fitted
                                                                           : Identification::weak;
        report.profile.*parameter.member = fitted.value;
      }
      report.parameters.push_back(fitted);
    }
  }

  std::vector<const PredictableRun*> runs_;
  const StackProfile& base_;
  bool memory_;
  std::vector<ProfileParameter> candidates_;
  std::vector<ProfileParameter> free_;
  std::vector<double> spreads_;
};

std::vector<RangePoint> range_points(std::span<const PredictableRun* const> runs) {
  std::vector<RangePoint> points;
  for (const PredictableRun* run : runs) {
    const ParallelLayout& layout = run->run.layout;
    points.push_back({&run->run.job, layout.devices(), run->cluster.device.name, layout.precision});
  }
  return points;
}

}  // namespace

double robust_spread(std::vector<double> errors) {
  if (errors.empty()) return 0;
  for (double& error : errors) error = std::abs(error);
  const auto middle = errors.begin() + static_cast<std::ptrdiff_t>(errors.size() / 2);
  std::nth_element(errors.begin(), middle, errors.end());
  return 1.4826 * *middle;
}

FitReport fit_profile(std::span<const PredictableRun> runs, const StackProfile& base) {
  FitReport report;
  report.profile = base;
  std::vector<const PredictableRun*> timed, remembered;
  for (const PredictableRun& run : runs) {
    if (!run.usable()) continue;
    if (run.run.status == RunStatus::ok && run.run.step_time_s) timed.push_back(&run);
    if (run.run.memory_gb || run.run.status == RunStatus::out_of_memory ||
        run.run.status == RunStatus::ok) {
      remembered.push_back(&run);
    }
  }
  report.time_runs = static_cast<int>(timed.size());
  report.memory_runs = static_cast<int>(remembered.size());
  const bool outcomes = std::any_of(remembered.begin(), remembered.end(), [](const auto* run) {
    return run->run.memory_gb || run->run.status == RunStatus::out_of_memory;
  });
  // Two problems: no time depends on a parameter of memory.
  if (outcomes) Problem(remembered, base, true).solve(report);
  const StackProfile with_memory = report.profile;
  Problem(timed, with_memory, false).solve(report);

  std::vector<double> errors;
  for (const PredictableRun* run : timed) {
    errors.push_back(std::log(predict(*run, report.profile).step_s / *run->run.step_time_s));
  }
  if (!errors.empty()) {
    report.profile.time_residual = robust_spread(errors);
    report.profile.range = range_of(range_points(timed));
  }
  return report;
}

}  // namespace kumihimo
