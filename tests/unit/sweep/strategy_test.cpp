#include "sweep/strategy.hpp"

#include <gmock/gmock.h>
#include <set>

#include "sweep/heavier.hpp"
#include "sweep/study_loop.hpp"
#include "unit/sweep/made_up_job.hpp"

namespace kumihimo {
namespace {

using testing::all_candidates;
using testing::candidates_of;
using testing::profile_of;
using testing::ProfiledMachine;

std::vector<std::size_t> order_of(StrategyKind kind, std::uint64_t seed) {
  const auto candidates = all_candidates();
  StudySoFar study(candidates);
  const auto strategy = make_strategy({.kind = kind, .seed = seed});
  ProfiledMachine machine(candidates, profile_of("megatron-2023-a100"));
  run_study(study, *strategy, machine, {});
  std::vector<std::size_t> order;
  for (const TriedCandidate& trial : study.tried) order.push_back(trial.candidate);
  return order;
}

TEST(Strategies, ExhaustiveAndRandomTryEverythingOnce) {
  const std::size_t all = all_candidates().size();
  for (const StrategyKind kind : {StrategyKind::exhaustive, StrategyKind::random}) {
    const auto order = order_of(kind, 1);
    EXPECT_EQ(order.size(), all);
    EXPECT_EQ(std::set(order.begin(), order.end()).size(), all);
  }
  EXPECT_EQ(order_of(StrategyKind::random, 7), order_of(StrategyKind::random, 7));
  EXPECT_NE(order_of(StrategyKind::random, 7), order_of(StrategyKind::random, 8));
}

TEST(Strategies, GuidedFindsTheBestOfAMachineThatItsProfileMisjudges) {
  const auto candidates = all_candidates();
  ASSERT_GT(candidates.size(), 50U);
  StackProfile truth = profile_of("megatron-2023-a100");
  truth.intra_node *= 0.6;
  truth.matmul_16bit *= 0.9;
  truth.micro_batch_s *= 4;
  ProfiledMachine machine(candidates, truth);
  const double best_s = machine.best_step_s();
  StudySoFar study(candidates);
  const auto strategy = make_strategy({.base = profile_of("megatron-2023-a100")});
  const StudyEnd end = run_study(study, *strategy, machine, {});
  EXPECT_EQ(end.kind, EndKind::strategy);
  ASSERT_NE(study.best(), nullptr);
  EXPECT_LE(*study.best()->outcome.step_time_s, 1.01 * best_s);
  EXPECT_LE(study.tried.size(), 10U) << "of " << candidates.size();
}

TEST(Strategies, AProfileThatIsRightIsBelievedSoon) {
  const auto candidates = all_candidates();
  const StackProfile truth = profile_of("megatron-2023-a100");
  ProfiledMachine machine(candidates, truth);
  const double best_s = machine.best_step_s();
  StudySoFar study(candidates);
  const auto strategy = make_strategy({.base = truth});
  run_study(study, *strategy, machine, {});
  EXPECT_DOUBLE_EQ(*study.tried.front().outcome.step_time_s, best_s) << "the first trial is it";
  EXPECT_LE(study.tried.size(), 5U);
}

TEST(Strategies, WhatIsHeavierThanAFailureIsNotTried) {
  const auto candidates =
      candidates_of({"tp=1 dp=8 micro-batch=2 zero=1", "tp=1 dp=8 micro-batch=4 zero=1",
                     "tp=8 micro-batch=1 zero=1"});
  StudySoFar study(candidates);
  study.add({0, {.state = TrialState::out_of_memory}});
  const StackProfile base = profile_of("uncalibrated");
  const Beliefs beliefs = believe(study, base, refit(study, base));
  EXPECT_EQ(beliefs.layouts[1].fits_probability, 0) << "twice the micro-batch";
  EXPECT_GT(beliefs.layouts[2].fits_probability, 0.5) << "an eighth of the weights";
}

TEST(Strategies, MemoryIsComparedByCategory) {
  MemoryUse light{.weights = 10, .activations = 5};
  MemoryUse heavy{.weights = 10, .activations = 6};
  EXPECT_TRUE(at_least_as_heavy(heavy, light));
  EXPECT_FALSE(at_least_as_heavy(light, heavy));
  heavy.weights = 9;  // more of one and less of another says nothing
  EXPECT_FALSE(at_least_as_heavy(heavy, light));
}

TEST(Strategies, ATrialTeachesAboutItsLikes) {
  const auto candidates =
      candidates_of({"tp=2 dp=4 micro-batch=1 zero=1", "tp=2 dp=4 micro-batch=2 zero=1",
                     "pp=8 micro-batch=1 zero=1 recompute=full"});
  const StackProfile base = profile_of("megatron-2023-a100");
  StudySoFar before(candidates);
  const Beliefs prior = believe(before, base, base);
  StudySoFar after(candidates);
  const double slower = 1.05 * std::exp(prior.layouts[0].log_step_s);
  after.add({0, {.state = TrialState::ok, .step_time_s = slower}});
  const Beliefs learnt = believe(after, base, refit(after, base));
  EXPECT_NEAR(std::exp(learnt.layouts[0].log_step_s), slower, 0.01 * slower);
  EXPECT_GT(learnt.layouts[1].log_step_s, prior.layouts[1].log_step_s);
  EXPECT_LT(learnt.layouts[0].spread, prior.layouts[0].spread);
  EXPECT_LT(learnt.layouts[1].spread, prior.layouts[1].spread);
}

TEST(ExpectedImprovement, IsThatOfANormalVariable) {
  // Mean one spread ahead: d = s, z = 1: s Phi(1) + s phi(1) = 0.1 (0.841345 + 0.241971).
  EXPECT_NEAR(expected_improvement({.log_step_s = -0.1, .spread = 0.1}, 0.0),
              0.1 * (0.841345 + 0.241971), 1e-6);
  EXPECT_NEAR(
      expected_improvement({.log_step_s = -0.1, .spread = 0.1, .fits_probability = 0.5}, 0.0),
      0.5 * 0.1 * (0.841345 + 0.241971), 1e-6);
  EXPECT_NEAR(probability_below({.log_step_s = 0, .spread = 1}, 1), 0.841345, 1e-6);
}

class CountingRunner : public TrialRunner {
 public:
  TrialOutcome run(std::size_t) override {
    if (++trials == cancel_at) return {.state = TrialState::cancelled};
    return {.state = TrialState::ok, .step_time_s = 1.0, .duration_s = 10, .device_hours = 2};
  }
  int trials = 0;
  int cancel_at = -1;
};

TEST(StudyLoop, StopsAtEachBudget) {
  const auto candidates = all_candidates();
  const auto trials_of = [&](const Budget& budget) {
    StudySoFar study(candidates);
    CountingRunner runner;
    const auto strategy = make_strategy({.kind = StrategyKind::exhaustive});
    EXPECT_EQ(run_study(study, *strategy, runner, budget).kind, EndKind::budget);
    return runner.trials;
  };
  EXPECT_EQ(trials_of({.trials = 3}), 3);
  EXPECT_EQ(trials_of({.seconds = 25}), 3) << "after 30 s";
  EXPECT_EQ(trials_of({.device_hours = 4}), 2);
}

TEST(StudyLoop, ACancelledTrialIsNotTried) {
  const auto candidates = all_candidates();
  StudySoFar study(candidates);
  CountingRunner runner;
  runner.cancel_at = 2;
  const auto strategy = make_strategy({.kind = StrategyKind::exhaustive});
  EXPECT_EQ(run_study(study, *strategy, runner, {}).kind, EndKind::interrupted);
  EXPECT_EQ(study.tried.size(), 1U);
}

}  // namespace
}  // namespace kumihimo
