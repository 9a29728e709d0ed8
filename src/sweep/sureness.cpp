#include "sweep/sureness.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <span>

#include "sweep/memory_beliefs.hpp"
#include "sweep/normal_draws.hpp"

namespace kumihimo {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

/// How wrong the planner may be.
struct Setting {
  double discrepancy = 0;      ///< standard deviation of what the planner cannot express
  double parameter_scale = 1;  ///< of the parameters' prior spreads
  double log_prior = 0;
};

constexpr std::array discrepancies{0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.45, 0.7, 1.0};
/// Of a profile on a stack that it was not fitted to, over nine sources of published runs: the
/// standard deviation of log(predicted / measured) within a group of layouts has this median, and
/// its logarithm this standard deviation between sources (docs/accuracy.md). A profile cannot tell
/// whether the stack before it is its own.
constexpr double usual_discrepancy = 0.12, discrepancy_freedom = 1.35;
/// What all layouts of a job have in common, as a share: it makes no layout the best.
constexpr double common_error = 0.5;
/// Of the discrepancy's variance, what neighbouring layouts share; the rest is each one's own.
constexpr double shared_part = 0.7;
constexpr std::array parameter_scales{1.0, 2.0, 4.0};
constexpr double scale_freedom = 0.7;
/// All layouts' memory together, with Student's tails: formats that a framework keeps are a guess.
constexpr double proven_memory_spread = 0.1, unproven_memory_spread = 0.2;
constexpr int memory_freedom = 3;
constexpr double number_of_draws = 2000;

std::vector<Setting> every_setting() {
  std::vector<Setting> all;
  for (const double discrepancy : discrepancies) {
    for (const double scale : parameter_scales) {
      const double away = std::log(discrepancy / usual_discrepancy) / discrepancy_freedom;
      const double wide = std::log(scale) / scale_freedom;
      all.push_back({discrepancy, scale, -0.5 * (away * away + wide * wide)});
    }
  }
  return all;
}

/// Slopes of each layout, side by side.
MatrixXd slopes_of(std::span<const Linearised> linear, std::span<const std::size_t> layouts) {
  MatrixXd slopes(linear[layouts.front()].step_slopes.size(),
                  static_cast<Eigen::Index>(layouts.size()));
  for (Eigen::Index i = 0; i < slopes.cols(); ++i) {
    slopes.col(i) = linear[layouts[static_cast<std::size_t>(i)]].step_slopes;
  }
  return slopes;
}

/// What two sets of layouts have in common.
class Kinship {
 public:
  Kinship(const StudySoFar& study, std::span<const Linearised> linear,
          std::span<const std::size_t> rows, std::span<const std::size_t> cols)
      : by_parameters_(slopes_of(linear, rows).transpose() * slopes_of(linear, cols)),
        alike_(by_parameters_.rows(), by_parameters_.cols()),
        same_(rows.data() == cols.data()) {
    for (Eigen::Index a = 0; a < alike_.rows(); ++a) {
      for (Eigen::Index b = 0; b < alike_.cols(); ++b) {
        alike_(a, b) = likeness(study.candidates[rows[static_cast<std::size_t>(a)]].run.layout,
                                study.candidates[cols[static_cast<std::size_t>(b)]].run.layout);
      }
    }
  }

  /// Of their logarithms of step time, before any trial.
  MatrixXd covariance(const Setting& setting) const {
    const double own = setting.discrepancy * setting.discrepancy;
    const double scale = setting.parameter_scale * setting.parameter_scale;
    MatrixXd all = scale * by_parameters_ + own * shared_part * alike_;
    all.array() += common_error * common_error;
    if (same_) all.diagonal().array() += own * (1 - shared_part);
    return all;
  }

 private:
  MatrixXd by_parameters_, alike_;
  bool same_;
};

/// What the trials measured.
struct Measured {
  std::vector<std::size_t> layouts;
  VectorXd surprise;  ///< log step time less that of the prior's centre
  VectorXd noise;     ///< variance of it between runs of the same layout
};

Measured measured_in(const StudySoFar& study, std::span<const Linearised> linear,
                     const Lineariser& linearise, double usual_noise) {
  Measured measured;
  std::vector<double> surprise, noise;
  for (const TriedCandidate& trial : study.tried) {
    if (!trial.outcome.ran()) continue;
    measured.layouts.push_back(trial.candidate);
    surprise.push_back(std::log(*trial.outcome.step_time_s) -
                       linearise.prior_log_step_s(linear[trial.candidate]));
    noise.push_back(std::pow(std::max(trial.outcome.step_time_error, usual_noise), 2));
  }
  const auto count = static_cast<Eigen::Index>(surprise.size());
  measured.surprise = Eigen::Map<VectorXd>(surprise.data(), count);
  measured.noise = Eigen::Map<VectorXd>(noise.data(), count);
  return measured;
}

/// The layouts that were not tried, given the trials, as a mixture of Gaussians: one for each
/// setting.
class Mixture {
 public:
  Mixture(const StudySoFar& study, std::span<const Linearised> linear, const Measured& measured,
          std::span<const std::size_t> open, VectorXd prior_mean)
      : measured_(measured),
        prior_mean_(std::move(prior_mean)),
        known_(study, linear, measured.layouts, measured.layouts),
        across_(study, linear, measured.layouts, open),
        unknown_(study, linear, open, open) {
    double most = -std::numeric_limits<double>::infinity();
    for (const Setting& setting : settings_) {
      const Eigen::LLT<MatrixXd> factor = known(setting);
      const double log_determinant = 2 * MatrixXd(factor.matrixL()).diagonal().array().log().sum();
      weights_.push_back(
          setting.log_prior -
          0.5 * (measured.surprise.dot(factor.solve(measured.surprise)) + log_determinant));
      most = std::max(most, weights_.back());
    }
    double total = 0;
    for (double& weight : weights_) total += weight = std::exp(weight - most);
    for (double& weight : weights_) weight /= total;
  }

  /// The mean of `chance` over draws of all layouts' logarithms of step time.
  double mean(const std::function<double(const VectorXd&)>& chance) const {
    constexpr double negligible = 1e-4;
    NormalDraws draw(2);
    double mean = 0, counted = 0;
    for (std::size_t k = 0; k < settings_.size(); ++k) {
      if (weights_[k] < negligible) continue;
      const Eigen::LLT<MatrixXd> factor = known(settings_[k]);
      const MatrixXd cross = across_.covariance(settings_[k]);
      const VectorXd centre = prior_mean_ + cross.transpose() * factor.solve(measured_.surprise);
      MatrixXd rest = unknown_.covariance(settings_[k]) - cross.transpose() * factor.solve(cross);
      constexpr double round_off = 1e-8;
      rest.diagonal().array() += round_off;
      const Eigen::LLT<MatrixXd> root(rest);
      const auto times = static_cast<int>(std::ceil(weights_[k] * number_of_draws));
      VectorXd numbers(centre.size());
      for (int i = 0; i < times; ++i) {
        for (double& number : numbers) number = draw();
        mean += weights_[k] / times * chance(centre + root.matrixL() * numbers);
      }
      counted += weights_[k];
    }
    return mean / counted;
  }

 private:
  Eigen::LLT<MatrixXd> known(const Setting& setting) const {
    MatrixXd matrix = known_.covariance(setting);
    matrix.diagonal() += measured_.noise;
    return Eigen::LLT<MatrixXd>(matrix);
  }

  const Measured& measured_;
  VectorXd prior_mean_;
  Kinship known_, across_, unknown_;
  std::vector<Setting> settings_ = every_setting();
  std::vector<double> weights_;
};

}  // namespace

double sureness(const StudySoFar& study, const StackProfile& base, const Beliefs& beliefs,
                double margin, const BeliefOptions& options) {
  const TriedCandidate* best = study.best();
  if (best == nullptr) return 0;
  const double threshold = std::log(*best->outcome.step_time_s) - std::log1p(margin);

  std::vector<double> log_step_s;
  std::vector<MemoryUse> fullest;
  for (const Candidate& candidate : study.candidates) {
    const Prediction prediction = predict(candidate, beliefs.profile);
    log_step_s.push_back(std::log(prediction.step_s));
    fullest.push_back(fullest_rank(prediction));
  }
  const std::vector<double> trust = trust_after_failures(study, fullest);
  const Cluster& cluster = study.candidates.front().cluster;
  const Lineariser linearise(base, beliefs.profile, cluster);
  const std::vector<std::size_t> close = most_promising(study, log_step_s, options.most_examined);
  const std::vector<Linearised> linear = linearise.all(study.candidates, close);
  std::vector<std::size_t> open;
  std::vector<bool> drawn(study.candidates.size(), false);
  for (const std::size_t i : close) {
    drawn[i] = true;
    if (!study.done[i] && trust[i] > 0) open.push_back(i);
  }
  double sure = 1;
  for (std::size_t i = 0; i < study.candidates.size(); ++i) {
    if (!study.done[i] && !drawn[i]) sure *= 1 - probability_below(beliefs.layouts[i], threshold);
  }
  if (open.empty()) return sure;

  const auto layouts = static_cast<Eigen::Index>(open.size());
  const MemoryBeliefs memory(
      study, linear, linearise.from_base(),
      {.residual = beliefs.profile.memory_residual,
       .common_spread = is_proven(base, cluster) ? proven_memory_spread : unproven_memory_spread,
       .freedom = memory_freedom});
  VectorXd prior_mean(layouts);
  MatrixXd fits(layouts, MemoryBeliefs::number_of_samples);
  for (Eigen::Index row = 0; row < layouts; ++row) {
    const std::size_t i = open[static_cast<std::size_t>(row)];
    prior_mean[row] = linearise.prior_log_step_s(linear[i]);
    fits.row(row) = trust[i] * memory.fits_by_sample(study.candidates[i], linear[i]).transpose();
  }
  const Measured measured = measured_in(study, linear, linearise, options.usual_noise);
  const Mixture mixture(study, linear, measured, open, std::move(prior_mean));
  std::vector<double> up_to(MemoryBeliefs::number_of_samples);
  std::partial_sum(memory.weights().begin(), memory.weights().end(), up_to.begin());
  std::mt19937_64 numbers(3);
  return sure * mixture.mean([&](const VectorXd& log_s) {
    const double place = static_cast<double>(numbers() >> 11) * 0x1p-53 * up_to.back();
    const auto sample = std::ranges::upper_bound(up_to, place) - up_to.begin();
    double none = 1;
    for (Eigen::Index row = 0; row < layouts; ++row) {
      if (log_s[row] < threshold) none *= 1 - fits(row, sample);
    }
    return none;
  });
}

}  // namespace kumihimo
