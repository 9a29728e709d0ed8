#include "sweep/sureness.hpp"

#include <gmock/gmock.h>

#include "sweep/normal_draws.hpp"
#include "sweep/study_loop.hpp"
#include "unit/sweep/made_up_job.hpp"

namespace kumihimo {
namespace {

using testing::all_candidates;
using testing::profile_of;
using testing::ProfiledMachine;

const StackProfile& base() {
  static const StackProfile profile = profile_of("megatron-2023-a100");
  return profile;
}

double sureness_of(const StudySoFar& study) {
  const StackProfile fitted = refit(study, base());
  return sureness(study, base(), believe(study, base(), fitted), 0.01);
}

/// A machine that is what the profile says, but for an error of each layout's own.
class ErringMachine : public TrialRunner {
 public:
  ErringMachine(std::span<const Candidate> candidates, double spread, std::uint64_t seed)
      : planned_(candidates, base()) {
    NormalDraws draw(seed);
    for (std::size_t i = 0; i < candidates.size(); ++i) errors_.push_back(spread * draw());
  }
  TrialOutcome run(std::size_t candidate) override {
    TrialOutcome outcome = planned_.run(candidate);
    if (outcome.step_time_s) *outcome.step_time_s *= std::exp(errors_[candidate]);
    return outcome;
  }

 private:
  ProfiledMachine planned_;
  std::vector<double> errors_;
};

StudySoFar after_trials(const std::vector<Candidate>& candidates, TrialRunner& machine,
                        double count) {
  StudySoFar study(candidates);
  const auto strategy = make_strategy({.base = base(), .tolerance = -1});
  run_study(study, *strategy, machine, {.trials = count});
  return study;
}

TEST(Sureness, IsNoneBeforeAnythingRanAndWholeAfterEverything) {
  const auto candidates = all_candidates();
  StudySoFar study(candidates);
  EXPECT_EQ(sureness_of(study), 0);
  ProfiledMachine machine(candidates, base());
  for (std::size_t i = 0; i < candidates.size(); ++i) study.add({i, machine.run(i)});
  EXPECT_EQ(sureness_of(study), 1);
}

TEST(Sureness, IsTheSameForTheSameTrialsAndGrowsWithThem) {
  const auto candidates = all_candidates();
  ProfiledMachine machine(candidates, base());
  const StudySoFar few = after_trials(candidates, machine, 2);
  const StudySoFar many = after_trials(candidates, machine, 12);
  EXPECT_EQ(sureness_of(few), sureness_of(few));
  EXPECT_GT(sureness_of(many), sureness_of(few));
  EXPECT_GT(sureness_of(many), 0.9);
}

TEST(Sureness, IsLessWhereTrialsContradictThePlanner) {
  const auto candidates = all_candidates();
  ProfiledMachine as_planned(candidates, base());
  ErringMachine erring(candidates, 0.3, 5);
  EXPECT_LT(sureness_of(after_trials(candidates, erring, 6)),
            sureness_of(after_trials(candidates, as_planned, 6)) - 0.2);
}

/// What it says is true about as often as it says, on machines whose errors are as large as the
/// planner's usually are. The product of single chances at one best guess of the error, which was
/// tried first, says 0.87 in the mean where it is right in 0.72 of these moments.
TEST(Sureness, IsTrueAboutAsOftenAsItSays) {
  const auto candidates = all_candidates();
  double said = 0, right = 0;
  int moments = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    const double spread = seed % 2 == 0 ? 0.06 : 0.15;
    ErringMachine machine(candidates, spread, seed);
    double best_s = 1e9;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const TrialOutcome outcome = machine.run(i);
      if (outcome.ran()) best_s = std::min(best_s, *outcome.step_time_s);
    }
    for (const double trials : {2, 5, 9}) {
      const StudySoFar study = after_trials(candidates, machine, trials);
      said += sureness_of(study);
      right += *study.best()->outcome.step_time_s <= 1.01 * best_s;
      ++moments;
    }
  }
  EXPECT_NEAR(said / moments, right / moments, 0.1);
  EXPECT_GT(right / moments, 0.1);
  EXPECT_LT(right / moments, 0.9);
}

}  // namespace
}  // namespace kumihimo
