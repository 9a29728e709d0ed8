#include "cli/step_error_text.hpp"

#include <gmock/gmock.h>

#include "cost/extrapolation.hpp"
#include "support/round_machine.hpp"

namespace kumihimo {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

PlannedJob planned_within() {
  PlannedJob planned;
  planned.job = testing::small_job();
  planned.job.model.layers = 16;
  planned.job.seq_length = 2048;
  planned.devices = 64;
  planned.cluster.device.name = "A100";
  planned.profile.time_residual = 0.04;
  planned.profile.range = range_of(
      std::vector<RangePoint>{{&planned.job, 64, planned.cluster.device.name, Precision::bf16}});
  return planned;
}

TEST(StepErrorText, IsTheProfilesWithinItsRuns) {
  EXPECT_EQ(step_error_text(planned_within(), Language::english), "step times ± 4 %");
}

TEST(StepErrorText, SaysInWhatTheJobLiesBeyond) {
  PlannedJob planned = planned_within();
  planned.devices = 1024;
  planned.job.seq_length = 1024;
  planned.job.model.layers = 17;  // a sixteenth more is nothing to speak of
  planned.cluster.device.name = "H100";
  const std::string text = step_error_text(planned, Language::english);
  EXPECT_THAT(text, HasSubstr("here (± 4 % within its runs)"));
  EXPECT_THAT(text, HasSubstr("16 times as many devices"));
  EXPECT_THAT(text, HasSubstr("2 times shorter sequences"));
  EXPECT_THAT(text, HasSubstr("another device than A100"));
  EXPECT_THAT(text, Not(HasSubstr("model")));
  EXPECT_THAT(step_error_text(planned, Language::japanese), HasSubstr("デバイス数がその 16 倍"));
}

TEST(StepErrorText, ReliesOnTheClusterOfAProfileWithoutRange) {
  PlannedJob planned = planned_within();
  planned.profile.range.reset();
  planned.profile.cluster = "h100-80gb-sxm";
  planned.profile.evidence = {{.source = "runs.csv", .runs = 8}};
  EXPECT_THAT(step_error_text(planned, Language::english),
              HasSubstr("where it was measured: not on this device"));
}

}  // namespace
}  // namespace kumihimo
