#include "calibrate/validation.hpp"

#include <cmath>
#include <gtest/gtest.h>

#include "made_up_runs.hpp"

namespace kumihimo {
namespace {

constexpr PredictedStatus oom = PredictedStatus::out_of_memory;

TEST(Validation, errors_are_shares_of_the_measured_time) {
  // 11/10, 16/20, 30/30, 52/40 and 55/50: errors 0.1, 0.2, 0, 0.3 and 0.1.
  const ErrorSummary error = JudgedRuns()
                                 .ran("s#1", 10, 11)
                                 .ran("s#2", 20, 16)
                                 .ran("s#3", 30, 30)
                                 .ran("s#4", 40, 52)
                                 .ran("s#5", 50, 55)
                                 .report()
                                 .error;
  EXPECT_EQ(error.runs, 5);
  EXPECT_NEAR(error.mape, (0.1 + 0.2 + 0 + 0.3 + 0.1) / 5, 1e-12);
  EXPECT_NEAR(error.median, 0.1, 1e-12);
  EXPECT_NEAR(error.p90, 0.3, 1e-12);  // the fifth of 0, 0.1, 0.1, 0.2, 0.3: index 5 * 9 / 10 = 4
}

TEST(Validation, the_median_of_an_even_number_is_the_upper_middle) {
  const ErrorSummary error = JudgedRuns().ran("s#1", 10, 11).ran("s#2", 10, 12).report().error;
  EXPECT_NEAR(error.median, 0.2, 1e-12);
  EXPECT_EQ(JudgedRuns().report().error.runs, 0);
}

TEST(Validation, rank_correlation_of_a_swapped_pair) {
  // Measured order 1 2 3 4, predicted 1 3 2 4: 1 - 6 * (0 + 1 + 1 + 0) / (4 * (16 - 1)) = 0.8.
  const ValidationReport report =
      JudgedRuns().ran("s#1", 1, 10).ran("s#2", 2, 30).ran("s#3", 3, 20).ran("s#4", 4, 40).report();
  ASSERT_EQ(report.groups.size(), 1u);
  EXPECT_NEAR(report.groups[0].spearman.value(), 1 - 6.0 * 2 / (4 * 15), 1e-12);
  EXPECT_NEAR(report.mean_spearman.value(), 0.8, 1e-12);
}

TEST(Validation, ties_share_their_mean_rank) {
  // Predicted ranks 0.5 0.5 2 3 against 0 1 2 3, means 1.5: products 1.5 + 0.5 + 0.25 + 2.25 = 4.5,
  // squares 1 + 1 + 0.25 + 2.25 = 4.5 and 2.25 + 0.25 + 0.25 + 2.25 = 5.
  const ValidationReport report =
      JudgedRuns().ran("s#1", 1, 7).ran("s#2", 2, 7).ran("s#3", 3, 8).ran("s#4", 4, 9).report();
  EXPECT_NEAR(report.mean_spearman.value(), 4.5 / std::sqrt(4.5 * 5), 1e-12);

  const ValidationReport equal =
      JudgedRuns().ran("s#1", 1, 7).ran("s#2", 2, 7).ran("s#3", 3, 7).ran("s#4", 4, 7).report();
  EXPECT_FALSE(equal.mean_spearman.has_value());
}

TEST(Validation, fewer_than_four_runs_are_not_ranked) {
  const ValidationReport report =
      JudgedRuns().ran("s#1", 1, 1).ran("s#2", 2, 2).ran("s#3", 3, 3).report();
  EXPECT_FALSE(report.groups[0].spearman.has_value());
  EXPECT_FALSE(report.groups[0].regret.has_value());
  EXPECT_FALSE(report.mean_regret.has_value());
}

TEST(Validation, regret_is_the_best_mfu_less_that_of_the_predicted_best) {
  const ValidationReport report = JudgedRuns()
                                      .ran_at("s#1", 0.60, 10, 12)
                                      .ran_at("s#2", 0.57, 10.5, 11)
                                      .ran_at("s#3", 0.50, 12, 13)
                                      .ran_at("s#4", 0.40, 15, 16)
                                      .report();
  const Regret& regret = report.groups[0].regret.value();
  EXPECT_NEAR(regret.value, 0.60 - 0.57, 1e-12);
  EXPECT_FALSE(regret.relative);
  EXPECT_EQ(regret.pick, "s#2");
  EXPECT_EQ(regret.best, "s#1");
  EXPECT_NEAR(report.mean_regret.value(), 0.03, 1e-12);
  EXPECT_NEAR(report.max_regret.value(), 0.03, 1e-12);
  EXPECT_FALSE(report.mean_relative_regret.has_value());
}

TEST(Validation, a_run_that_is_predicted_not_to_fit_is_never_picked_unless_none_fits) {
  JudgedRuns runs;
  runs.ran_at("s#1", 0.60, 10, 9, oom)
      .ran_at("s#2", 0.55, 11, 11)
      .ran_at("s#3", 0.50, 12, 12)
      .ran_at("s#4", 0.40, 15, 15);
  EXPECT_NEAR(runs.report().mean_regret.value(), 0.60 - 0.55, 1e-12);
  for (RunPrediction& prediction : runs.predictions) prediction.status = oom;
  EXPECT_NEAR(runs.report().mean_regret.value(), 0, 1e-12);
}

TEST(Validation, without_stated_mfu_regret_is_relative) {
  JudgedRuns runs;
  runs.ran_at("s#1", 0.6, 10, 12).ran("s#2", 12.5, 11).ran("s#3", 20, 21).ran("s#4", 30, 31);
  const ValidationReport report = runs.report();
  // The pick runs at 10 / 12.5 of the best throughput.
  EXPECT_NEAR(report.mean_relative_regret.value(), 1 - 10 / 12.5, 1e-12);
  EXPECT_TRUE(report.groups[0].regret->relative);
  EXPECT_FALSE(report.mean_regret.has_value());
}

TEST(Validation, groups_are_sheets_and_jobs) {
  JudgedRuns runs;
  runs.ran("a#1", 1, 1).ran("a#2", 1, 1).ran("b#1", 1, 1).ran("a#3", 1, 1);
  runs.last().gpus = 128;
  runs.ran("plain", 1, 1).ran("other", 1, 1);  // without '#': the source is the sheet
  runs.ran("a#4", 1, 1);
  runs.last().file = "another.csv";
  const ValidationReport report = runs.report();
  std::vector<std::string> found;
  for (const GroupReport& group : report.groups) {
    found.push_back(group.group.file + " " + group.group.sheet + " " +
                    std::to_string(group.group.gpus) + ": " + std::to_string(group.rows));
  }
  EXPECT_EQ(found, (std::vector<std::string>{"another.csv a 64: 1", "runs.csv a 64: 2",
                                             "runs.csv a 128: 1", "runs.csv a paper 64: 2",
                                             "runs.csv b 64: 1"}));
  EXPECT_EQ(report.rows, 7);
}

TEST(Validation, totals_are_means_over_groups_and_the_worst) {
  JudgedRuns runs;
  for (const std::string sheet : {"a", "b"}) {
    const double lost = sheet == "a" ? 0.01 : 0.04;
    runs.ran_at(sheet + "#1", 0.60, 10, 12)
        .ran_at(sheet + "#2", 0.60 - lost, 11, 11)
        .ran_at(sheet + "#3", 0.50, 12, 13)
        .ran_at(sheet + "#4", 0.40, 15, 16);
  }
  const ValidationReport report = runs.report();
  EXPECT_NEAR(report.mean_regret.value(), (0.01 + 0.04) / 2, 1e-12);
  EXPECT_NEAR(report.max_regret.value(), 0.04, 1e-12);
}

TEST(Validation, memory_is_judged_where_the_outcome_is_known) {
  const ValidationReport report = JudgedRuns()
                                      .ran("s#1", 1, 1)
                                      .ran("s#2", 1, 1)
                                      .ran("s#3", 1, 1, oom)
                                      .ran_out_of_memory("s#4", 1, oom)
                                      .ran_out_of_memory("s#5", 1, oom)
                                      .ran_out_of_memory("s#6", 1, oom)
                                      .ran_out_of_memory("s#7", 1, PredictedStatus::ok)
                                      .failed("s#8", 1)
                                      .report();
  EXPECT_EQ(report.memory.hits, 3);
  EXPECT_EQ(report.memory.misses, 1);
  EXPECT_EQ(report.memory.false_alarms, 1);
  EXPECT_EQ(report.memory.passes, 2);
  EXPECT_DOUBLE_EQ(report.memory.accuracy().value(), 5.0 / 7);
  EXPECT_DOUBLE_EQ(report.memory.precision().value(), 3.0 / 4);
  EXPECT_DOUBLE_EQ(report.memory.recall().value(), 3.0 / 4);
  EXPECT_EQ(report.rows, 8);
  EXPECT_EQ(report.used, 7);
  EXPECT_EQ(report.skipped.at("failed, cause not stated"), 1);
  EXPECT_FALSE(MemoryJudgement{}.accuracy().has_value());
  EXPECT_FALSE(MemoryJudgement{.passes = 3}.recall().has_value());
  EXPECT_FALSE(MemoryJudgement{.misses = 3}.precision().has_value());
}

TEST(Validation, the_own_pick_may_be_a_layout_that_ran_out_of_memory) {
  JudgedRuns runs;
  runs.ran("s#1", 10, 10).ran_out_of_memory("s#2", 9, PredictedStatus::ok).failed("s#3", 1);
  EXPECT_TRUE(runs.report().groups[0].own_pick_out_of_memory.value());
  EXPECT_EQ(runs.report().own_picks, 1);
  EXPECT_EQ(runs.report().own_picks_out_of_memory, 1);

  runs.predictions[1].status = oom;  // foreseen, so not picked
  EXPECT_FALSE(runs.report().groups[0].own_pick_out_of_memory.value());
  runs.predictions[0].status = oom;
  EXPECT_FALSE(runs.report().groups[0].own_pick_out_of_memory.has_value());
}

TEST(Validation, of_equal_own_picks_the_one_that_ran_counts) {
  JudgedRuns runs;
  runs.ran_out_of_memory("s#1", 9, PredictedStatus::ok).ran("s#2", 10, 9);
  EXPECT_FALSE(runs.report().groups[0].own_pick_out_of_memory.value());
}

TEST(Validation, rows_without_figures_are_counted_by_reason) {
  JudgedRuns runs;
  runs.ran("s#1", 1, 1)
      .without_prediction("s#2", PredictedStatus::skipped, "hidden not stated")
      .without_prediction("s#3", PredictedStatus::skipped, "hidden not stated")
      .without_prediction("s#4", PredictedStatus::infeasible, "tp does not divide heads")
      .ran("s#5", 1, 1);
  runs.last().step_time_s.reset();
  const ValidationReport report = runs.report();
  EXPECT_EQ(report.used, 1);
  EXPECT_EQ(report.error.runs, 1);
  EXPECT_EQ(report.skipped, (std::map<std::string, std::int64_t>{{"hidden not stated", 2},
                                                                 {"no step time stated", 1},
                                                                 {"tp does not divide heads", 1}}));
}

TEST(Validation, doubtful_and_derived_rows_are_scored_and_counted_apart) {
  JudgedRuns runs;
  runs.ran("s#1", 10, 11).ran("s#2", 10, 15);
  runs.last().suspect = "INCONSISTENT ROW";
  runs.ran("s#3", 10, 13);
  runs.last().assumptions.push_back("step_time_s 10: from tokens_per_s_per_gpu");
  const ValidationReport report = runs.report();
  EXPECT_NEAR(report.error.mape, (0.1 + 0.5 + 0.3) / 3, 1e-12);
  EXPECT_EQ(report.suspect_error.runs, 1);
  EXPECT_NEAR(report.suspect_error.mape, 0.5, 1e-12);
  EXPECT_EQ(report.derived_error.runs, 1);
  EXPECT_NEAR(report.derived_error.mape, 0.3, 1e-12);
}

TEST(PredictRuns, a_run_that_cannot_be_predicted_says_why) {
  std::vector<PredictableRun> runs(3);
  runs[0].run.skip_reason = runs[0].reason = "gpus not stated";
  runs[1].reason = "no cluster in the catalog for gpu_type X";
  runs[2].cluster.devices_per_node = 8;
  runs[2].reason = "tp 3 does not divide heads 40";
  const std::vector<RunPrediction> predictions = predict_runs(runs, StackProfile{});
  EXPECT_EQ(predictions[0].status, PredictedStatus::skipped);
  EXPECT_EQ(predictions[1].status, PredictedStatus::skipped);
  EXPECT_EQ(predictions[2].status, PredictedStatus::infeasible);
  EXPECT_EQ(predictions[2].reason, "tp 3 does not divide heads 40");
  EXPECT_FALSE(predictions[2].has_figures());
}

}  // namespace
}  // namespace kumihimo
