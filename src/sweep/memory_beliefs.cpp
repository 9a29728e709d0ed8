#include "sweep/memory_beliefs.hpp"

#include <algorithm>
#include <cmath>

#include "base/normal.hpp"
#include "sweep/normal_draws.hpp"

namespace kumihimo {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

/// A layout as heavy as one that failed for an unknown reason is half as likely to run.
constexpr double trust_after_failure = 0.5;

/// A factor that makes a normal draw Student's.
double student_factor(NormalDraws& draw, int freedom) {
  if (freedom == 0) return 1;
  double squares = 0;
  for (int i = 0; i < freedom; ++i) squares += std::pow(draw(), 2);
  return std::sqrt(freedom / squares);
}

}  // namespace

MemoryBeliefs::MemoryBeliefs(const StudySoFar& study, std::span<const Linearised> linear,
                             const VectorXd& from_base, const MemoryPrior& prior)
    : residual_(prior.residual) {
  const Eigen::Index parameters = from_base.size();
  NormalDraws draw(1);
  samples_ = MatrixXd(parameters, number_of_samples);
  common_ = VectorXd(number_of_samples);
  for (Eigen::Index s = 0; s < number_of_samples; ++s) {
    // Around the base profile; figures are linearised at the fitted one.
    for (Eigen::Index p = 0; p < parameters; ++p) samples_(p, s) = draw() - from_base[p];
    common_[s] = prior.common_spread * draw() * student_factor(draw, prior.freedom);
  }
  VectorXd log_weights = VectorXd::Zero(number_of_samples);
  for (const TriedCandidate& trial : study.tried) {
    add_outcome(study.candidates[trial.candidate], linear[trial.candidate], trial.outcome,
                log_weights);
  }
  const VectorXd weights = (log_weights.array() - log_weights.maxCoeff()).exp();
  weights_ = weights / weights.sum();
}

double MemoryBeliefs::fits_probability(const Candidate& candidate, const Linearised& linear) const {
  const VectorXd slack = slacks(candidate, linear);
  double probability = 0;
  for (Eigen::Index s = 0; s < number_of_samples; ++s) {
    if (weights_[s] > 1e-9) probability += weights_[s] * normal_cdf(slack[s] / residual_);
  }
  return std::min(1.0, probability);  // weights add up to one but for rounding
}

VectorXd MemoryBeliefs::fits_by_sample(const Candidate& candidate, const Linearised& linear) const {
  return slacks(candidate, linear).unaryExpr([this](double slack) {
    return normal_cdf(slack / residual_);
  });
}

/// log(device memory / need) of each sample.
VectorXd MemoryBeliefs::slacks(const Candidate& candidate, const Linearised& linear) const {
  const double capacity = std::log(static_cast<double>(candidate.cluster.device.memory));
  return (capacity - linear.log_memory) -
         (samples_.transpose() * linear.memory_slopes + common_).array();
}

void MemoryBeliefs::add_outcome(const Candidate& candidate, const Linearised& linear,
                                const TrialOutcome& outcome, VectorXd& log_weights) const {
  const bool failed = outcome.state == TrialState::out_of_memory;
  if (!failed && !outcome.ran()) return;
  const VectorXd slack = slacks(candidate, linear);
  const double capacity = static_cast<double>(candidate.cluster.device.memory);
  for (Eigen::Index s = 0; s < number_of_samples; ++s) {
    if (outcome.memory_gib && !failed) {
      const double away = (std::log(capacity / (*outcome.memory_gib * GiB)) - slack[s]) / residual_;
      log_weights[s] -= 0.5 * away * away;
    } else {
      const double fits = normal_cdf(slack[s] / residual_);
      log_weights[s] += std::log(std::max(failed ? 1 - fits : fits, 1e-12));
    }
  }
}

std::vector<double> trust_after_failures(const StudySoFar& study,
                                         std::span<const MemoryUse> fullest) {
  std::vector<double> trust(study.candidates.size(), 1);
  for (const TriedCandidate& trial : study.tried) {
    const bool out_of_memory = trial.outcome.state == TrialState::out_of_memory;
    if (!out_of_memory && trial.outcome.state != TrialState::error) continue;
    for (std::size_t i = 0; i < study.candidates.size(); ++i) {
      if (!at_least_as_heavy(fullest[i], fullest[trial.candidate])) continue;
      trust[i] *= out_of_memory ? 0 : trust_after_failure;
    }
  }
  return trust;
}

}  // namespace kumihimo
