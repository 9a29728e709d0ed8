#include "sweep/session.hpp"

#include <gmock/gmock.h>

#include "runs/measured_run.hpp"
#include "sweep/candidates.hpp"
#include "unit/sweep/made_up_job.hpp"

namespace kumihimo {
namespace {

using testing::candidates_of;

Trial trial_of(const Candidate& candidate, TrialState state, double seconds,
               std::int64_t repetition = 0) {
  Trial trial{.layout = to_text(candidate.run.layout), .repetition = repetition, .state = state};
  if (seconds > 0) trial.run[RunColumn::step_time_s] = std::to_string(seconds);
  return trial;
}

TEST(Session, GoesOnFromWhatIsStoredWithoutControlsAndCancelledTrials) {
  const auto candidates = candidates_of({"tp=8", "tp=4 dp=2", "tp=2 dp=4", "tp=1 dp=8"});
  const std::vector<Trial> trials{trial_of(candidates[1], TrialState::ok, 2.0),
                                  trial_of(candidates[1], TrialState::ok, 2.2, 1),
                                  trial_of(candidates[2], TrialState::cancelled, 0),
                                  trial_of(candidates[3], TrialState::out_of_memory, 0),
                                  {.layout = "tp=16", .state = TrialState::ok}};
  const StudySoFar study = resume_study(candidates, trials);
  EXPECT_EQ(study.done, (std::vector<bool>{false, true, false, true}));
  EXPECT_EQ(study.best()->candidate, 1U);
  EXPECT_NEAR(drift_of(trials).last, 2.2 / 2.0 - 1, 1e-9);
}

TEST(Session, AControlIsDueAfterSoManyTrialsOnce) {
  const auto candidates = candidates_of({"tp=8", "tp=4 dp=2", "tp=2 dp=4"});
  std::vector<Trial> trials{trial_of(candidates[0], TrialState::error, 0),
                            trial_of(candidates[1], TrialState::ok, 2.0)};
  const StudySoFar study = resume_study(candidates, trials);
  EXPECT_FALSE(due_control(study, trials, 3));
  const auto control = due_control(study, trials, 2);
  ASSERT_TRUE(control);
  EXPECT_EQ(control->candidate, 1U) << "the first that ran";
  trials.push_back(trial_of(candidates[1], TrialState::ok, 2.1, control->repetition));
  EXPECT_FALSE(due_control(resume_study(candidates, trials), trials, 2));
}

TEST(Candidates, ARowReadsBackAsTheRunThatItIs) {
  for (const Candidate& candidate :
       candidates_of({"tp=2 dp=4 micro-batch=2 recompute=selective sp=true zero=1 norm=unfused",
                      "pp=2 dp=4 vpp=2 attention=unfused precision=bf16 overlap-dp=false",
                      "pp=4 dp=2 schedule=zb-h1 zero=2", "pp=2 dp=4 schedule=gpipe"})) {
    RunRow row = run_row(candidate);
    row[RunColumn::status] = "ok";
    row[RunColumn::step_time_s] = "1.5";
    row[RunColumn::table_or_row_id] = "x";
    const auto read = parse_runs(run_rows_csv({&row, 1}), "row.csv");
    ASSERT_TRUE(read) << to_string(read.errors());
    const MeasuredRun run = complete_run((*read)[0], FrameworkDefaults{});
    EXPECT_EQ(to_text(run.layout), to_text(candidate.run.layout));
    EXPECT_EQ(run.job.global_batch_size, candidate.run.job.global_batch_size);
    EXPECT_TRUE(run.usable()) << run.skip_reason;
  }
}

}  // namespace
}  // namespace kumihimo
