#include "sweep/step_times.hpp"

#include <fstream>
#include <gmock/gmock.h>

#include "support/scratch_folder.hpp"

namespace kumihimo {
namespace {

std::string line(int step, double seconds) {
  return R"({"schema":"kumihimo.train-step/1","step":)" + std::to_string(step) +
         R"(,"loss":5.5,"step_time_s":)" + std::to_string(seconds) + R"(,"mfu":0.5})";
}

TEST(StepTimes, TheMedianAndItsInterval) {
  // Nine steps: ranks 9/2 -+ 0.98 sqrt 9 = 1.56 and 7.44, so the second and the second to last.
  const StepSummary summary = summarise_steps({9, 1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_EQ(summary.median_s, 5);
  EXPECT_DOUBLE_EQ(summary.spread, (8.0 - 2.0) / 2 / 5);
  EXPECT_EQ(summary.outliers, 0);
  EXPECT_EQ(summarise_steps({1, 2}).median_s, 1.5);
}

TEST(StepTimes, OneSlowStepIsAnOutlierAndDoesNotMoveTheMedian) {
  const StepSummary summary =
      summarise_steps({1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01, 0.99, 1.0, 9.0});
  EXPECT_EQ(summary.outliers, 1);
  EXPECT_NEAR(summary.median_s, 1.0, 0.006);
}

TEST(StepTimes, SettledWhenTheSpreadIsSmallOrTheCapIsReached) {
  const MeasurementRules rules{.least_steps = 3, .most_steps = 5, .spread = 0.01};
  EXPECT_FALSE(is_settled(summarise_steps({1, 1}), rules)) << "too few";
  EXPECT_TRUE(is_settled(summarise_steps({1, 1, 1}), rules));
  EXPECT_FALSE(is_settled(summarise_steps({1, 2, 3}), rules)) << "too wide";
  EXPECT_TRUE(is_settled(summarise_steps({1, 2, 3, 4, 5}), rules)) << "no more";
}

TEST(StepLog, GivesLinesOnceAndOnlyWhenTheyAreWhole) {
  const testing::ScratchFolder folder;
  StepLog log(folder.file("log.jsonl"));
  EXPECT_TRUE(log.read_new().empty()) << "it is not there yet";
  std::ofstream out(folder.file("log.jsonl"));
  const std::string second = line(2, 0.25);
  out << line(1, 0.5) << '\n' << second.substr(0, 20) << std::flush;
  ASSERT_EQ(log.read_new().size(), 1U);
  out << second.substr(20) << '\n' << "not json\n" << std::flush;
  const auto steps = log.read_new();
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].step, 2);
  EXPECT_EQ(steps[0].step_time_s, 0.25);
  EXPECT_EQ(steps[0].loss, 5.5);
  EXPECT_TRUE(log.read_new().empty());
}

}  // namespace
}  // namespace kumihimo
