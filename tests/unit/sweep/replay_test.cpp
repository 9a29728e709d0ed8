#include "sweep/replay.hpp"

#include <gmock/gmock.h>

#include "sweep/step_times.hpp"
#include "unit/sweep/made_up_job.hpp"

namespace kumihimo {
namespace {

using testing::profile_of;
using testing::run_in;

std::vector<PredictableRun> recorded() {
  std::vector<MeasuredRun> runs{run_in("tp=1 dp=8", 2.0), run_in("tp=2 dp=4", 3.0),
                                run_in("tp=2 dp=4", 5.0), run_in("tp=4 dp=2", 4.0),
                                run_in("tp=8", 8.0),      run_in("pp=8")};
  runs.back().status = RunStatus::out_of_memory;
  return prepare_runs(std::move(runs), FrameworkDefaults{});
}

TEST(Replay, ARepeatedLayoutIsOneWithTheMedianOfItsTimes) {
  const auto groups = recorded_groups(recorded(), {.start_up_s = 60, .steps = 10});
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].rows, 6);
  EXPECT_EQ(groups[0].candidates.size(), 5U);
  EXPECT_EQ(groups[0].ran, 4U);
  EXPECT_EQ(groups[0].best_step_s, 2.0);
  EXPECT_EQ(groups[0].outcomes[1].step_time_s, (3.0 + 5.0) / 2);
  EXPECT_NEAR(groups[0].outcomes[1].device_hours, 8 * (60 + 10 * 4.0) / 3600, 1e-12);
  EXPECT_EQ(groups[0].outcomes[4].state, TrialState::out_of_memory);
  EXPECT_FALSE(groups[0].candidates[0].run.step_time_s) << "a strategy must not see the answer";
}

TEST(Replay, SmallGroupsAreNoContest) { EXPECT_TRUE(recorded_groups(recorded(), {}, 5).empty()); }

TEST(Replay, RegretFallsToTheBestAndNeverRises) {
  const auto groups = recorded_groups(recorded(), {});
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const ReplayRun run = replay(groups[0], {.kind = StrategyKind::random, .seed = seed});
    EXPECT_TRUE(std::ranges::is_sorted(run.regret, std::greater{}));
    EXPECT_TRUE(std::ranges::is_sorted(run.device_hours));
    EXPECT_EQ(run.regret.back(), 0);
    EXPECT_EQ(run.regret[static_cast<std::size_t>(run.trials_to_1_percent) - 1], 0);
  }
}

TEST(Replay, ExhaustiveTakesTheOrderOfTheFile) {
  const ReplayRun run =
      replay(recorded_groups(recorded(), {})[0], {.kind = StrategyKind::exhaustive});
  EXPECT_EQ(run.trials_to_1_percent, 1);
  EXPECT_EQ(run.trials_at_stop, 5) << "it knows only when it has seen all";
}

TEST(Replay, GuidedSaysAfterEachTrialHowSureItIsAndWhetherRightly) {
  const ReplayRun run = replay(recorded_groups(recorded(), {})[0],
                               {.base = profile_of("uncalibrated"), .tolerance = 0.001});
  ASSERT_EQ(run.sureness.size(), run.regret.size());
  for (std::size_t i = 0; i < run.regret.size(); ++i) {
    // Faster by more than 1 %: a regret above 1 - 1 / 1.01.
    EXPECT_EQ(run.sure_rightly[i], run.regret[i] <= 1 - 1 / 1.01);
  }
  EXPECT_EQ(run.sureness_at_stop, run.sureness[static_cast<std::size_t>(run.trials_at_stop) - 1]);
  EXPECT_TRUE(
      replay(recorded_groups(recorded(), {})[0], {.kind = StrategyKind::random}).sureness.empty());
}

TEST(Replay, ARandomPartIsTheSameForASeedAndKeepsFourLayoutsThatRan) {
  const RecordedGroup group = recorded_groups(recorded(), {})[0];
  const auto layouts = [](const RecordedGroup& part) {
    std::vector<std::string> all;
    for (const Candidate& candidate : part.candidates) all.push_back(to_text(candidate.run.layout));
    return all;
  };
  const RecordedGroup part = random_part(group, 0.2, 3);
  EXPECT_EQ(part.ran, 4U) << "a fifth of five layouts would be one";
  EXPECT_EQ(part.best_step_s, 2.0);
  EXPECT_EQ(layouts(part), layouts(random_part(group, 0.2, 3)));
  EXPECT_NE(layouts(part), layouts(random_part(group, 0.2, 4)));
  for (std::size_t i = 0; i < part.candidates.size(); ++i) {
    const auto all = layouts(group);
    const auto place = std::ranges::find(all, to_text(part.candidates[i].run.layout)) - all.begin();
    EXPECT_EQ(part.outcomes[i].step_time_s,
              group.outcomes[static_cast<std::size_t>(place)].step_time_s);
  }
}

TEST(Replay, MediansAreThoseOfSchool) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), (2 + 3) / 2.0);
}

}  // namespace
}  // namespace kumihimo
