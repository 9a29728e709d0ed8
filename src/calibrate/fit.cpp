#include "calibrate/fit.hpp"

#include <algorithm>
#include <array>
#include <ceres/ceres.h>
#include <cmath>
#include <thread>

#include "calibrate/residuals.hpp"
#include "cost/extrapolation.hpp"

namespace kumihimo {
namespace {

/// Spread of log step time (or memory) that a good model leaves on clean runs; beyond a few of
/// these a run is an outlier and pulls no harder. A base profile may be far from the runs, and then
/// all would look like outliers: the fit starts with a wide spread and narrows it.
constexpr std::array narrowing_noise{0.20, 0.06, 0.02};
constexpr double final_noise = narrowing_noise.back();

bool is_memory(const ProfileParameter& parameter) {
  return parameter.key.substr(0, 7) == "memory.";
}

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
    for (const PredictableRun* run : runs_) at_base.push_back(value(*run, base_));
    for (const ProfileParameter& parameter : candidates_) {
      const auto informs = [&](double log_move) {
        return information(parameter, log_move, at_base) > 0.5;
      };
      if (informs(parameter.prior_spread) || informs(-parameter.prior_spread)) {
        free_.push_back(parameter);
      }
    }
  }

  double value(const PredictableRun& run, const StackProfile& profile) const {
    return memory_ ? predict_peak_memory(run, profile) : predict(run, profile).step_s;
  }

  /// Squares of what moving the parameter changes in the runs, in units of their noise.
  double information(const ProfileParameter& parameter, double log_move,
                     const std::vector<double>& at_base) const {
    StackProfile moved = base_;
    moved.*parameter.member =
        std::clamp(base_.*parameter.member * std::exp(log_move), parameter.lower, parameter.upper);
    double sum = 0;
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      const double in_noise = std::log(value(*runs_[i], moved) / at_base[i]) / final_noise;
      sum += in_noise * in_noise;
    }
    return sum;
  }

  void add_blocks(ceres::Problem& problem, double* logs, const std::vector<double>& centre,
                  double noise) {
    const FreeParameters free{base_, free_};
    for (const PredictableRun* run : runs_) {
      auto residual =
          memory_ ? memory_residual(*run, free, noise) : step_time_residual(*run, free, noise);
      problem.AddResidualBlock(residual.release(), new ceres::CauchyLoss(2.0), logs);
    }
    problem.AddResidualBlock(prior_residuals(free, centre).release(), nullptr, logs);
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

FittedParameter* find_parameter(FitReport& report, std::string_view key) {
  const auto found = std::ranges::find(report.parameters, key, &FittedParameter::key);
  return found == report.parameters.end() ? nullptr : &*found;
}

/// Moves `key`, if no run says anything about it, as far as `sibling` was moved by the fit.
void move_with(FitReport& report, std::string_view sibling, std::string_view key) {
  const FittedParameter* fitted = find_parameter(report, sibling);
  FittedParameter* kept = find_parameter(report, key);
  if (fitted == nullptr || kept == nullptr ||
      fitted->identification == Identification::unconstrained ||
      kept->identification != Identification::unconstrained) {
    return;
  }
  const auto parameter = std::ranges::find(profile_parameters(), key, &ProfileParameter::key);
  kept->value =
      std::clamp(kept->base * fitted->value / fitted->base, parameter->lower, parameter->upper);
  kept->log_spread = std::hypot(kept->log_spread, fitted->log_spread);
  kept->identification = Identification::sibling;
  report.profile.*parameter->member = kept->value;
}

/// Left where it was, the older FlashAttention would come out as the faster one of a stack on which
/// the newer was found slow. FlashAttention 3 stands apart: it lives on what only Hopper has.
void keep_ratio_of_flash_attention(FitReport& report) {
  constexpr std::string_view first = "rates.attention_flash1", second = "rates.attention_flash2";
  move_with(report, first, second);
  move_with(report, second, first);
}

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
  keep_ratio_of_flash_attention(report);

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
