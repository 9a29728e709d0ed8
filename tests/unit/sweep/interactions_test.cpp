#include "sweep/interactions.hpp"

#include <cmath>
#include <gmock/gmock.h>

#include "unit/sweep/made_up_job.hpp"

namespace kumihimo {
namespace {

using testing::run_in;

/// Seconds of tp 1 or 2 by norm kernel: a fused norm gains 25 % at tp 1 and nothing at tp 2.
std::vector<PredictableRun> runs() {
  return prepare_runs({run_in("tp=1 dp=8 norm=unfused", 5.0), run_in("tp=1 dp=8 norm=fused", 4.0),
                       run_in("tp=2 dp=4 norm=unfused", 4.5), run_in("tp=2 dp=4 norm=fused", 4.5)},
                      FrameworkDefaults{});
}

TEST(Interactions, EffectsAreMeansOverPairsThatDifferInOneKnob) {
  const auto reports = find_interactions(runs());
  ASSERT_EQ(reports.size(), 1U);
  const auto& effects = reports[0].effects;
  ASSERT_EQ(effects.size(), 2U);
  EXPECT_EQ(effects[0].knob, "tp");
  EXPECT_EQ(effects[0].pairs, 2);
  EXPECT_NEAR(effects[0].mean, (std::log(5 / 4.5) + std::log(4 / 4.5)) / 2, 1e-12);
  EXPECT_NEAR(effects[0].least, std::log(4 / 4.5), 1e-12);
  EXPECT_EQ(effects[1].knob, "norm");
  EXPECT_EQ(effects[1].from, "fused");
  EXPECT_NEAR(effects[1].mean, (std::log(4.0 / 5) + 0) / 2, 1e-12);
}

TEST(Interactions, APairIsTheDifferenceOfDifferences) {
  const auto report = find_interactions(runs())[0];
  ASSERT_EQ(report.interactions.size(), 1U);
  const Interaction& one = report.interactions[0];
  EXPECT_EQ(one.effect.knob, "tp");
  EXPECT_EQ(one.other, "norm");
  EXPECT_NEAR(one.effect.mean, std::log(4 / 4.5), 1e-12) << "tp 1 to 2 with a fused norm";
  EXPECT_NEAR(one.mean_then, std::log(5 / 4.5), 1e-12) << "and with an unfused one";
  EXPECT_EQ(one.quadruples, 1);
}

TEST(Interactions, AFlipSaysWhatElseChanges) {
  const auto report = find_interactions(runs())[0];
  ASSERT_EQ(report.flips.size(), 2U);
  EXPECT_EQ(report.flips[1].knob, "norm");
  EXPECT_EQ(report.flips[1].a.step_time_s, 4.0);
  EXPECT_EQ(report.flips[1].b.step_time_s, 4.5);
  EXPECT_THAT(report.flips[1].also, ::testing::ElementsAre("tp 1 -> 2"));
}

TEST(Interactions, WhatWasNotMeasuredIsNotCompared) {
  auto three = runs();
  three.pop_back();
  three.push_back(prepare_runs({run_in("pp=8 recompute=full", 9.0)}, FrameworkDefaults{})[0]);
  const auto report = find_interactions(three)[0];
  EXPECT_TRUE(report.interactions.empty()) << "one of the four combinations is missing";
  for (const MainEffect& effect : report.effects) {
    EXPECT_NE(effect.knob, "pp") << "it differs in recompute too";
  }
}

}  // namespace
}  // namespace kumihimo
