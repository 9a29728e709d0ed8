#include "sweep/beliefs.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <numeric>
#include <random>
#include <span>

#include "calibrate/fit.hpp"
#include "cost/stack_choice.hpp"
#include "sweep/heavier.hpp"

namespace kumihimo {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

/// Of the discrepancy's variance, what neighbouring layouts share; the rest is each one's own.
constexpr double shared_part = 0.7;
/// How fast likeness is lost: for each doubling of a degree, for each other choice.
constexpr double loss_per_doubling = 0.25, loss_per_choice = 0.3;
/// Discrepancies that are tried, and how freely the trials may choose among them.
constexpr std::array discrepancies{0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.45};
constexpr double discrepancy_freedom = 0.7;
/// A parameter that the shipped profile knows from other runs may still differ here.
constexpr double transfer_spread = 0.10;
/// What a profile without evidence on the candidates' cluster may misjudge all memory by: what its
/// framework keeps in which format is a guess.
constexpr double unproven_memory_spread = 0.2;
/// A layout as heavy as one that failed for an unknown reason is half as likely to run.
constexpr double trust_after_failure = 0.5;

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }
double normal_density(double z) { return std::exp(-0.5 * z * z) / std::sqrt(2 * std::numbers::pi); }

double doublings(int a, int b) {
  return std::abs(std::log2(static_cast<double>(a)) - std::log2(static_cast<double>(b)));
}

/// How alike two layouts are: 1 for the same.
double likeness(const ParallelLayout& a, const ParallelLayout& b) {
  double distance =
      loss_per_doubling * (doublings(a.tensor_parallel, b.tensor_parallel) +
                           doublings(a.pipeline_parallel, b.pipeline_parallel) +
                           doublings(a.data_parallel, b.data_parallel) +
                           doublings(a.context_parallel, b.context_parallel) +
                           doublings(a.micro_batch_size, b.micro_batch_size) +
                           doublings(a.virtual_stages_per_rank, b.virtual_stages_per_rank));
  const auto choice = [&](auto x, auto y) { distance += x == y ? 0 : loss_per_choice; };
  choice(a.schedule, b.schedule);
  choice(a.recompute, b.recompute);
  choice(a.sequence_parallel, b.sequence_parallel);
  choice(a.zero_stage, b.zero_stage);
  choice(a.attention, b.attention);
  choice(a.norm, b.norm);
  choice(a.precision, b.precision);
  choice(a.overlap_data_parallel, b.overlap_data_parallel);
  choice(a.offload.any(), b.offload.any());
  return std::exp(-distance);
}

/// Whether the profile was fitted to runs on that kind of cluster.
bool is_proven(const StackProfile& base, const Cluster& cluster) {
  return !base.evidence.empty() && !measured_elsewhere(base, cluster);
}

/// Whether its spreads are those of kernels and links that were timed on that cluster.
bool is_measured(const StackProfile& base, const Cluster& cluster) {
  return base.evidence.empty() && !base.spreads.empty() && base.cluster == cluster.name;
}

double prior_spread(const ProfileParameter& parameter, const StackProfile& base, bool known_here) {
  const auto known = std::ranges::find(base.spreads, parameter.key, &ParameterSpread::key);
  if (!known_here || known == base.spreads.end()) return parameter.prior_spread;
  return std::min(parameter.prior_spread, std::hypot(known->log_spread, transfer_spread));
}

/// A candidate's figures at the fitted profile, and how they move with each parameter's logarithm,
/// in units of its prior spread.
struct Linearised {
  double log_step_s = 0;
  double log_memory = 0;
  VectorXd step_slopes;
  VectorXd memory_slopes;
};

class Lineariser {
 public:
  Lineariser(const StackProfile& base, const StackProfile& fitted, bool known_here)
      : fitted_(fitted), from_base_(VectorXd::Zero(count())) {
    for (Eigen::Index i = 0; i < count(); ++i) {
      const ProfileParameter& parameter = parameter_at(i);
      const double value = fitted.*parameter.member;
      // Away from the bound that is nearer.
      double step = 0.05;
      if (value * std::exp(step) > parameter.upper) step = -step;
      steps_.push_back(step);
      spreads_.push_back(prior_spread(parameter, base, known_here));
      const double from = std::log(value / (base.*parameter.member));
      from_base_[i] = std::isfinite(from) ? from / spreads_.back() : 0;
    }
  }

  Linearised operator()(const Candidate& candidate) const {
    const Prediction here = predict(candidate, fitted_);
    Linearised result{std::log(here.step_s), std::log(here.peak_memory_bytes),
                      VectorXd::Zero(count()), VectorXd::Zero(count())};
    for (Eigen::Index i = 0; i < count(); ++i) {
      const auto index = static_cast<std::size_t>(i);
      StackProfile moved = fitted_;
      moved.*parameter_at(i).member *= std::exp(steps_[index]);
      const Prediction there = predict(candidate, moved);
      const double scale = spreads_[index] / steps_[index];
      result.step_slopes[i] = (std::log(there.step_s) - result.log_step_s) * scale;
      result.memory_slopes[i] = (std::log(there.peak_memory_bytes) - result.log_memory) * scale;
    }
    return result;
  }

  /// The fitted profile's parameters less the base's, in prior spreads.
  const VectorXd& from_base() const { return from_base_; }

  /// The prior's centre is the base profile, not the fitted one.
  double prior_log_step_s(const Linearised& at) const {
    return at.log_step_s - at.step_slopes.dot(from_base_);
  }

 private:
  static Eigen::Index count() { return static_cast<Eigen::Index>(profile_parameters().size()); }
  static const ProfileParameter& parameter_at(Eigen::Index i) {
    return profile_parameters()[static_cast<std::size_t>(i)];
  }
  const StackProfile& fitted_;
  std::vector<double> steps_, spreads_;
  VectorXd from_base_;
};

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

/// The most promising candidates by the fitted profile alone, the measured ones among them.
std::vector<std::size_t> examined(const StudySoFar& study, std::span<const double> log_step_s,
                                  std::size_t most) {
  std::vector<std::size_t> order(study.candidates.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (order.size() <= most) return order;
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return log_step_s[i]; });
  order.resize(most);
  for (const TriedCandidate& trial : study.tried) {
    if (std::ranges::find(order, trial.candidate) == order.end()) {
      order.push_back(trial.candidate);
    }
  }
  return order;
}

/// Chances to fit: samples of the memory parameters, weighted by what the trials showed. Outcomes
/// are mostly yes or no, so no closed form would do. The same numbers every time.
class MemoryBeliefs {
 public:
  MemoryBeliefs(const StudySoFar& study, std::span<const Linearised> linear,
                const VectorXd& from_base, double residual, double common_spread)
      : residual_(residual), common_spread_(common_spread) {
    const Eigen::Index parameters = from_base.size();
    std::mt19937_64 numbers(1);
    samples_ = MatrixXd(parameters, number_of_samples);
    common_ = VectorXd(number_of_samples);
    for (Eigen::Index s = 0; s < number_of_samples; ++s) {
      // Around the base profile; figures are linearised at the fitted one.
      for (Eigen::Index p = 0; p < parameters; ++p) {
        samples_(p, s) = normal_draw(numbers) - from_base[p];
      }
      common_[s] = normal_draw(numbers);
    }
    VectorXd log_weights = VectorXd::Zero(number_of_samples);
    for (const TriedCandidate& trial : study.tried) {
      add_outcome(study.candidates[trial.candidate], linear[trial.candidate], trial.outcome,
                  log_weights);
    }
    const VectorXd weights = (log_weights.array() - log_weights.maxCoeff()).exp();
    weights_ = weights / weights.sum();
  }

  double fits_probability(const Candidate& candidate, const Linearised& linear) const {
    const VectorXd slack = slacks(candidate, linear);
    double probability = 0;
    for (Eigen::Index s = 0; s < number_of_samples; ++s) {
      if (weights_[s] > 1e-9) probability += weights_[s] * normal_cdf(slack[s] / residual_);
    }
    return probability;
  }

 private:
  static constexpr Eigen::Index number_of_samples = 1000;

  static double normal_draw(std::mt19937_64& numbers) {
    // Box and Muller 1958; the library's own distribution differs between platforms.
    const auto uniform = [&] { return (static_cast<double>(numbers() >> 11) + 0.5) * 0x1p-53; };
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

  /// log(device memory / need) of each sample.
  VectorXd slacks(const Candidate& candidate, const Linearised& linear) const {
    const double capacity = std::log(static_cast<double>(candidate.cluster.device.memory));
    return (capacity - linear.log_memory) -
           (samples_.transpose() * linear.memory_slopes + common_spread_ * common_).array();
  }

  void add_outcome(const Candidate& candidate, const Linearised& linear, const Outcome& outcome,
                   VectorXd& log_weights) const {
    const bool failed = outcome.state == TrialState::out_of_memory;
    if (!failed && !outcome.ran()) return;
    const VectorXd slack = slacks(candidate, linear);
    const double capacity = static_cast<double>(candidate.cluster.device.memory);
    for (Eigen::Index s = 0; s < number_of_samples; ++s) {
      if (outcome.memory_gib && !failed) {
        const double away =
            (std::log(capacity / (*outcome.memory_gib * GiB)) - slack[s]) / residual_;
        log_weights[s] -= 0.5 * away * away;
      } else {
        const double fits = normal_cdf(slack[s] / residual_);
        log_weights[s] += std::log(std::max(failed ? 1 - fits : fits, 1e-12));
      }
    }
  }

  double residual_, common_spread_;
  MatrixXd samples_;
  VectorXd common_;
  VectorXd weights_;
};

/// Lowers the chance of layouts as heavy as one that failed.
void learn_failures(const StudySoFar& study, std::span<const MemoryUse> fullest, Beliefs& beliefs) {
  for (const TriedCandidate& trial : study.tried) {
    const bool out_of_memory = trial.outcome.state == TrialState::out_of_memory;
    if (!out_of_memory && trial.outcome.state != TrialState::error) continue;
    for (std::size_t i = 0; i < study.candidates.size(); ++i) {
      if (!at_least_as_heavy(fullest[i], fullest[trial.candidate])) continue;
      beliefs.layouts[i].fits_probability *= out_of_memory ? 0 : trust_after_failure;
    }
  }
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

  const bool proven = study.candidates.empty() || is_proven(base, study.candidates.front().cluster);
  const bool known_here = proven || is_measured(base, study.candidates.front().cluster);
  const Lineariser linearise(base, beliefs.profile, known_here);
  const std::vector<std::size_t> close = examined(study, log_step_s, options.most_examined);
  std::vector<Linearised> linear(study.candidates.size());
  for (const std::size_t i : close) linear[i] = linearise(study.candidates[i]);

  std::vector<std::size_t> measured;
  std::vector<const Outcome*> outcomes;
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
    const Outcome& outcome = *outcomes[static_cast<std::size_t>(a)];
    const double error = std::max(outcome.step_time_error, options.usual_noise);
    noise[a] = error * error;
    surprise[a] = std::log(*outcome.step_time_s) - linearise.prior_log_step_s(at_a);
  }
  Conditioned posterior(std::move(by_parameters), std::move(alike), std::move(noise),
                        std::move(surprise));
  posterior.choose_discrepancy(std::clamp(base.time_residual, discrepancies.front(), 0.45));
  beliefs.discrepancy = posterior.discrepancy();

  const MemoryBeliefs memory_beliefs(study, linear, linearise.from_base(),
                                     beliefs.profile.memory_residual,
                                     proven ? 0 : unproven_memory_spread);
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
  learn_failures(study, fullest, beliefs);
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
