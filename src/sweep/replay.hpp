#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "calibrate/validation.hpp"
#include "sweep/study_loop.hpp"

// Strategies played against recorded runs as if they were measuring them.

namespace kumihimo {

/// The runs of one group that a strategy chooses among, each layout once.
struct RecordedGroup {
  RunGroup group;
  std::vector<Candidate> candidates;
  std::vector<TrialOutcome> outcomes;  ///< by candidate: what its trial would have given
  std::int64_t rows = 0;
  std::int64_t left_out = 0;  ///< rows that cannot be predicted or are doubtful
  double best_step_s = 0;     ///< of all layouts that ran
  std::size_t ran = 0;        ///< layouts
};

/// What a trial would have cost: recorded runs do not say.
struct TrialCost {
  double start_up_s = 60;
  double steps = 10;
};

/// Groups in the order of RunGroup; those with fewer than `least` layouts that ran are left out.
/// Runs of the same layout are one, with the median of their times.
std::vector<RecordedGroup> recorded_groups(std::span<const PredictableRun> runs,
                                           const TrialCost& cost, std::size_t least = 4);

/// Gives back what was recorded.
class RecordedRunner : public TrialRunner {
 public:
  explicit RecordedRunner(const RecordedGroup& group) : group_(group) {}
  TrialOutcome run(std::size_t candidate) override { return group_.outcomes.at(candidate); }

 private:
  const RecordedGroup& group_;
};

/// One strategy on one group, once. It plays on until everything was tried, so that every figure is
/// known; where a guided strategy would have stopped is noted.
struct ReplayRun {
  /// After each trial, 1 - best known step's speed over the best of the group; 1 before any ran.
  std::vector<double> regret;
  std::vector<double> device_hours;  ///< spent, after each trial
  /// Guided only: after each trial, how sure it says to be that no layout that was not tried is
  /// faster than the best by more than 1 %, and whether that was so.
  std::vector<double> sureness;
  std::vector<bool> sure_rightly;
  std::int64_t trials_to_1_percent = 0;
  double device_hours_to_1_percent = 0;
  std::int64_t trials_at_stop = 0;  ///< all of them unless guided
  double regret_at_stop = 0;
  double device_hours_at_stop = 0;
  double sureness_at_stop = 0;  ///< guided only: what it says of itself
};

ReplayRun replay(const RecordedGroup& group, const StrategyOptions& options);

/// A random share of a group's layouts, four that ran at least where the group has them: another
/// game of the same kind. The same seed draws the same.
RecordedGroup random_part(const RecordedGroup& group, double share, std::uint64_t seed);

}  // namespace kumihimo
