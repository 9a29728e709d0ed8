#include "cli/sweep_text.hpp"

#include <gmock/gmock.h>

#include "unit/cli/small_llama_trial.hpp"

namespace kumihimo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Trial trial_with(TrialClock clock) {
  Trial trial = testing::small_llama_trial(1, {.data_parallel = 8}, "here");
  trial.clock = clock;
  trial.state = TrialState::ok;
  trial.run[RunColumn::step_time_s] = "0.5";
  return trial;
}

TEST(SweepText, SaysWhichTimesNobodyMeasured) {
  EXPECT_THAT(trials_table(std::vector{trial_with(TrialClock::emulated)}, 1),
              HasSubstr("step, emulated"));
  EXPECT_THAT(trials_table(std::vector{trial_with(TrialClock::quoted)}, 1),
              HasSubstr("step, quoted"));
  EXPECT_THAT(trials_table(std::vector{trial_with(TrialClock::measured)}, 1),
              Not(HasSubstr("step,")));
  const Conclusion conclusion{.best = 0, .best_step_s = 0.5, .sureness = 0.5, .untried = 3};
  const Candidate best;
  EXPECT_THAT(conclusion_text(conclusion, &best, TrialClock::emulated),
              AllOf(StartsWith("Best emulated: "), HasSubstr("MFU unknown"),
                    HasSubstr("50.0 % sure that none of the 3 layouts")));
}

TEST(SweepText, WhereEveryLayoutWasTriedThereIsNothingToBeSureOf) {
  const Conclusion conclusion{.best = 0, .best_step_s = 0.5, .best_mfu = 0.4, .sureness = 1};
  const Candidate best;
  EXPECT_THAT(conclusion_text(conclusion, &best, TrialClock::measured),
              AllOf(StartsWith("Best measured: "), HasSubstr("MFU 40.0 %"),
                    HasSubstr("every layout was tried"), Not(HasSubstr("% sure"))));
}

}  // namespace
}  // namespace kumihimo
