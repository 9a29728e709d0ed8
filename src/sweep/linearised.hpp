#pragma once

#include <Eigen/Core>
#include <span>
#include <vector>

#include "cost/stack_profile.hpp"
#include "sweep/trials.hpp"

// The planner linearised at a profile: what beliefs about layouts are made of.

namespace kumihimo {

/// How alike two layouts are: 1 for the same.
double likeness(const ParallelLayout& a, const ParallelLayout& b);

/// Whether the profile was fitted to runs on that kind of cluster.
bool is_proven(const StackProfile& base, const Cluster& cluster);

/// A candidate's figures at the fitted profile, and how they move with each parameter's logarithm,
/// in units of its prior spread.
struct Linearised {
  double log_step_s = 0;
  double log_memory = 0;
  Eigen::VectorXd step_slopes;
  Eigen::VectorXd memory_slopes;
};

/// The prior of each parameter is around `base`: as wide as its own spread if the profile was
/// fitted to runs on that kind of cluster or timed on this very one, else the prior of calibrate.
class Lineariser {
 public:
  /// Refers to `fitted`, where it linearises.
  Lineariser(const StackProfile& base, const StackProfile& fitted, const Cluster& cluster);

  Linearised operator()(const Candidate& candidate) const;
  /// Of the candidates `which`, on all cores, which no trial needs meanwhile; empty for the others.
  std::vector<Linearised> all(std::span<const Candidate> candidates,
                              std::span<const std::size_t> which) const;

  /// The fitted profile's parameters less the base's, in prior spreads.
  const Eigen::VectorXd& from_base() const { return from_base_; }

  /// The prior's centre is the base profile, not the fitted one.
  double prior_log_step_s(const Linearised& at) const {
    return at.log_step_s - at.step_slopes.dot(from_base_);
  }

 private:
  const StackProfile& fitted_;
  std::vector<double> steps_, spreads_;
  Eigen::VectorXd from_base_;
};

/// The most promising candidates by `log_step_s` alone, and the tried ones; all where there are no
/// more than `most`.
std::vector<std::size_t> most_promising(const StudySoFar& study, std::span<const double> log_step_s,
                                        std::size_t most);

}  // namespace kumihimo
