#pragma once

#include <Eigen/Core>
#include <span>

#include "sweep/heavier.hpp"
#include "sweep/linearised.hpp"

namespace kumihimo {

/// How wide the beliefs about memory are before any trial.
struct MemoryPrior {
  double residual = 0;       ///< of one layout's log need, around what the parameters say
  double common_spread = 0;  ///< of all layouts' together
  /// Degrees of freedom of the common part, whose tails are Student's; 0: normal.
  int freedom = 0;
};

/// Chances to fit: samples of the memory parameters, weighted by what the trials showed. Outcomes
/// are mostly yes or no, so no closed form would do. The same numbers every time.
class MemoryBeliefs {
 public:
  static constexpr Eigen::Index number_of_samples = 1000;

  /// `linear`: by candidate; only tried ones are looked at.
  MemoryBeliefs(const StudySoFar& study, std::span<const Linearised> linear,
                const Eigen::VectorXd& from_base, const MemoryPrior& prior);

  double fits_probability(const Candidate& candidate, const Linearised& linear) const;

  /// The chance to fit in each sample, and the samples' weights, which add up to 1.
  Eigen::VectorXd fits_by_sample(const Candidate& candidate, const Linearised& linear) const;
  const Eigen::VectorXd& weights() const { return weights_; }

 private:
  Eigen::VectorXd slacks(const Candidate& candidate, const Linearised& linear) const;
  void add_outcome(const Candidate& candidate, const Linearised& linear,
                   const TrialOutcome& outcome, Eigen::VectorXd& log_weights) const;

  double residual_;
  Eigen::MatrixXd samples_;
  Eigen::VectorXd common_;
  Eigen::VectorXd weights_;
};

/// What failures say of layouts at least as heavy, by candidate: 0 where one ran out of memory,
/// less than 1 where one failed for an unknown reason, 1 for the rest. `fullest`: by candidate.
std::vector<double> trust_after_failures(const StudySoFar& study,
                                         std::span<const MemoryUse> fullest);

}  // namespace kumihimo
