#pragma once

#include <cstddef>
#include <vector>

#include "cost/stack_profile.hpp"
#include "sweep/trials.hpp"

// What the planner believes of every layout after some trials.
//
// The logarithm of a layout's step time is what the planner predicts with the profile's parameters,
// plus what the planner cannot express. Both are uncertain, and both are learnt from trials: the
// parameters have a prior around the shipped profile, and what is left over is alike for layouts
// that are alike (a Gaussian process over the knobs). Linearised at the profile that calibrate fits
// to the trials, the two make one Gaussian, which the measured times condition.
// Source: Rasmussen and Williams 2006, chapter 2.7; Kennedy and O'Hagan 2001 for the split of
// model parameters and discrepancy.

namespace kumihimo {

struct Belief {
  double log_step_s = 0;  ///< mean of the logarithm of the step time in seconds
  double spread = 0;      ///< its standard deviation
  double fits_probability = 1;
};

struct Beliefs {
  StackProfile profile;         ///< refitted to the trials
  std::vector<Belief> layouts;  ///< one for each candidate
  double discrepancy = 0;       ///< standard deviation of what the planner cannot express
};

struct BeliefOptions {
  /// Candidates, the most promising first, whose uncertainty is worked out one by one; the others
  /// have that of the most uncertain of them.
  std::size_t most_examined = 400;
  /// Standard deviation of log step time between two runs of one layout, where a trial does not
  /// state its own.
  double usual_noise = 0.01;
};

/// `base` fitted to the trials.
StackProfile refit(const StudySoFar& study, const StackProfile& base);

/// Requires usable candidates. `base`: the profile before any trial; `fitted`: where to linearise,
/// what refit gave for these trials or for most of them.
Beliefs believe(const StudySoFar& study, const StackProfile& base, const StackProfile& fitted,
                const BeliefOptions& options = {});

/// Expected improvement of the logarithm of step time over `best_log_s`, and 0 if it does not fit.
double expected_improvement(const Belief& belief, double best_log_s);

/// Probability that it fits and its step time is below exp(log_s).
double probability_below(const Belief& belief, double log_s);

}  // namespace kumihimo
