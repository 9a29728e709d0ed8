#pragma once

#include "sweep/beliefs.hpp"

// How sure one may be of a study's best layout.
//
// The search follows one best guess of how far the planner is off. A statement about all layouts
// that were not tried must not: a few trials leave open how large the planner's errors are, and the
// chance that some layout is faster lies in those cases where they are large. So every size of the
// discrepancy, and every width of the parameters' prior, counts with its likelihood by the trials
// (which makes the tails those of a Student distribution rather than a Gaussian), layouts are drawn
// together, since beliefs of similar ones rise and fall together, and so are their chances to fit.
// Source: Gelman et al. 2013, Bayesian Data Analysis, chapters 5 and 21.

namespace kumihimo {

/// The probability, after the study's trials, that no candidate that was not tried is faster than
/// the best by more than the share `margin`; 0 before anything ran. `base`: the profile before any
/// trial; `beliefs`: after the last. The same trials give the same figure.
double sureness(const StudySoFar& study, const StackProfile& base, const Beliefs& beliefs,
                double margin, const BeliefOptions& options = {});

}  // namespace kumihimo
