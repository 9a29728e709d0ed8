#include "sweep/beliefs.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>

#include "base/normal.hpp"
#include "calibrate/fit.hpp"
#include "sweep/memory_beliefs.hpp"

namespace kumihimo {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

/// Of the discrepancy's variance, what neighbouring layouts share; the rest is each one's own.
constexpr double shared_part = 0.7;
/// Discrepancies that are tried, and how freely the trials may choose among them.
constexpr std::array discrepancies{0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.45};
constexpr double discrepancy_freedom = 0.7;
/// What a profile without evidence on the candidates' cluster may misjudge all memory by: what its
/// framework keeps in which format is a guess.
constexpr double unproven_memory_spread = 0.2;

/// The Gaussian over the measured candidates, conditioned on what was measured.
class Conditioned {
 public:
  Conditioned(MatrixXd by_parameters, MatrixXd alike, VectorXd noise, VectorXd surprise)
      : by_parameters_(std::move(by_parameters)),
        alike_(std::move(alike)),
        noise_(std::move(noise)),
        surprise_(std::move(surprise)) {}

  /// Chooses the discrepancy that makes the measurements most likely, given what was expected.
  void choose_discrepancy(double expected) {
    double most = -std::numeric_limits<double>::infinity();
    for (const double discrepancy : discrepancies) {
      const double away = std::log(discrepancy / expected) / discrepancy_freedom;
      const double likelihood = solve(discrepancy) - 0.5 * away * away;
      if (likelihood <= most) continue;
      most = likelihood;
      discrepancy_ = discrepancy;
    }
    solve(discrepancy_);
  }

  double discrepancy() const { return discrepancy_; }

  /// Mean and variance of a candidate, given its covariances with the measured ones: through the
  /// parameters, and the part of the discrepancy's variance that it shares with each.
  std::pair<double, double> at(double prior_mean, double parameter_variance,
                               const VectorXd& parameter_covariance,
                               const VectorXd& shared_discrepancy) const {
    const double own = discrepancy_ * discrepancy_;
    const VectorXd covariance = parameter_covariance + own * shared_discrepancy;
    const double mean = prior_mean + covariance.dot(weights_);
    const double explained = covariance.dot(factor_.solve(covariance));
    return {mean, std::max(parameter_variance + own - explained, own * 0.01)};
  }

 private:
  /// The logarithm of the measurements' likelihood, up to a constant.
  double solve(double discrepancy) {
    const double own = discrepancy * discrepancy;
    MatrixXd covariance = by_parameters_ + own * shared_part * alike_;
    covariance.diagonal().array() += own * (1 - shared_part);
    covariance.diagonal() += noise_;
    factor_.compute(covariance);
    weights_ = factor_.solve(surprise_);
    const double log_determinant = 2 * MatrixXd(factor_.matrixL()).diagonal().array().log().sum();
    return -0.5 * (surprise_.dot(weights_) + log_determinant);
  }

  MatrixXd by_parameters_, alike_;
  VectorXd noise_, surprise_;
  double discrepancy_ = 0;
  Eigen::LLT<MatrixXd> factor_;
  VectorXd weights_;
};

/// The trials as measured runs, for calibrate.
std::vector<PredictableRun> as_runs(const StudySoFar& study) {
  std::vector<PredictableRun> runs;
  for (const TriedCandidate& trial : study.tried) {
    const bool ran = trial.outcome.ran();
    if (!ran && trial.outcome.state != TrialState::out_of_memory) continue;
    PredictableRun run = study.candidates[trial.candidate];
    run.run.status = ran ? RunStatus::ok : RunStatus::out_of_memory;
    run.run.step_time_s = trial.outcome.step_time_s;
    run.run.memory_gb = ran ? trial.outcome.memory_gib : std::nullopt;
    runs.push_back(std::move(run));
  }
  return runs;
}

}  // namespace

StackProfile refit(const StudySoFar& study, const StackProfile& base) {
  const std::vector<PredictableRun> runs = as_runs(study);
  return runs.empty() ? base : fit_profile(runs, base).profile;
}

Beliefs believe(const StudySoFar& study, const StackProfile& base, const StackProfile& fitted,
                const BeliefOptions& options) {
  Beliefs beliefs;
  beliefs.profile = fitted;
  beliefs.layouts.resize(study.candidates.size());

  std::vector<double> log_step_s, memory;
  std::vector<MemoryUse> fullest;
  for (const Candidate& candidate : study.candidates) {
    const Prediction prediction = predict(candidate, beliefs.profile);
    log_step_s.push_back(std::log(prediction.step_s));
    memory.push_back(prediction.peak_memory_bytes);
    fullest.push_back(fullest_rank(prediction));
  }

  if (study.candidates.empty()) return beliefs;
  const bool proven = is_proven(base, study.candidates.front().cluster);
  const Lineariser linearise(base, beliefs.profile, study.candidates.front().cluster);
  const std::vector<std::size_t> close = most_promising(study, log_step_s, options.most_examined);
  const std::vector<Linearised> linear = linearise.all(study.candidates, close);

  std::vector<std::size_t> measured;
  std::vector<const TrialOutcome*> outcomes;
  for (const TriedCandidate& trial : study.tried) {
    if (!trial.outcome.ran()) continue;
    measured.push_back(trial.candidate);
    outcomes.push_back(&trial.outcome);
  }
  const auto count = static_cast<Eigen::Index>(measured.size());
  MatrixXd by_parameters(count, count), alike(count, count);
  VectorXd noise(count), surprise(count);
  const auto layout_of = [&](std::size_t i) -> const ParallelLayout& {
    return study.candidates[i].run.layout;
  };
  for (Eigen::Index a = 0; a < count; ++a) {
    const Linearised& at_a = linear[measured[static_cast<std::size_t>(a)]];
    for (Eigen::Index b = 0; b < count; ++b) {
      const std::size_t other = measured[static_cast<std::size_t>(b)];
      by_parameters(a, b) = at_a.step_slopes.dot(linear[other].step_slopes);
      alike(a, b) = likeness(layout_of(measured[static_cast<std::size_t>(a)]), layout_of(other));
    }
    const TrialOutcome& outcome = *outcomes[static_cast<std::size_t>(a)];
    const double error = std::max(outcome.step_time_error, options.usual_noise);
    noise[a] = error * error;
    surprise[a] = std::log(*outcome.step_time_s) - linearise.prior_log_step_s(at_a);
  }
  Conditioned posterior(std::move(by_parameters), std::move(alike), std::move(noise),
                        std::move(surprise));
  posterior.choose_discrepancy(std::clamp(base.time_residual, discrepancies.front(), 0.45));
  beliefs.discrepancy = posterior.discrepancy();

  const MemoryBeliefs memory_beliefs(study, linear, linearise.from_base(),
                                     {.residual = beliefs.profile.memory_residual,
                                      .common_spread = proven ? 0 : unproven_memory_spread});
  double widest = 0;
  for (const std::size_t i : close) {
    VectorXd covariance(count), shared(count);
    for (Eigen::Index a = 0; a < count; ++a) {
      const std::size_t other = measured[static_cast<std::size_t>(a)];
      covariance[a] = linear[i].step_slopes.dot(linear[other].step_slopes);
      shared[a] = other == i ? 1 : shared_part * likeness(layout_of(i), layout_of(other));
    }
    const auto [mean, variance] =
        posterior.at(linearise.prior_log_step_s(linear[i]), linear[i].step_slopes.squaredNorm(),
                     covariance, shared);
    beliefs.layouts[i].log_step_s = mean;
    beliefs.layouts[i].spread = std::sqrt(variance);
    beliefs.layouts[i].fits_probability =
        memory_beliefs.fits_probability(study.candidates[i], linear[i]);
    widest = std::max(widest, beliefs.layouts[i].spread);
  }
  for (std::size_t i = 0; i < study.candidates.size(); ++i) {
    Belief& belief = beliefs.layouts[i];
    if (belief.spread > 0) continue;
    const double slack =
        std::log(static_cast<double>(study.candidates[i].cluster.device.memory) / memory[i]);
    belief = {.log_step_s = log_step_s[i],
              .spread = widest,
              .fits_probability = normal_cdf(slack / beliefs.profile.memory_residual)};
  }
  const std::vector<double> trust = trust_after_failures(study, fullest);
  for (std::size_t i = 0; i < trust.size(); ++i) beliefs.layouts[i].fits_probability *= trust[i];
  return beliefs;
}

double expected_improvement(const Belief& belief, double best_log_s) {
  const double ahead = best_log_s - belief.log_step_s;
  const double z = ahead / belief.spread;
  return belief.fits_probability * (ahead * normal_cdf(z) + belief.spread * normal_density(z));
}

double probability_below(const Belief& belief, double log_s) {
  return belief.fits_probability * normal_cdf((log_s - belief.log_step_s) / belief.spread);
}

}  // namespace kumihimo
