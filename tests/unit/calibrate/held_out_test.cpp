#include "calibrate/held_out.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <set>
#include <string>
#include <utility>

#include "made_up_runs.hpp"

namespace kumihimo {
namespace {

JudgedRuns sheet(const std::string& name, int rows) {
  JudgedRuns runs;
  for (int i = 0; i < rows; ++i) runs.ran(name + "#" + std::to_string(i), 1, 1);
  return runs;
}

TEST(DrawRuns, draws_as_many_of_each_group) {
  JudgedRuns runs = sheet("a", 20);
  for (int i = 0; i < 30; ++i) runs.ran("b#" + std::to_string(i), 1, 1);
  const auto drawn = draw_runs(runs.runs, 8, 1);
  EXPECT_EQ(drawn.size(), 16u);
  EXPECT_EQ(std::count_if(drawn.begin(), drawn.end(), [](std::size_t i) { return i < 20; }), 8);
  EXPECT_TRUE(std::is_sorted(drawn.begin(), drawn.end()));
  EXPECT_EQ(std::set(drawn.begin(), drawn.end()).size(), drawn.size());
}

TEST(DrawRuns, the_seed_decides_and_repeats) {
  const JudgedRuns runs = sheet("a", 40);
  EXPECT_EQ(draw_runs(runs.runs, 8, 1), draw_runs(runs.runs, 8, 1));
  EXPECT_NE(draw_runs(runs.runs, 8, 1), draw_runs(runs.runs, 8, 2));
  // Every platform draws these.
  EXPECT_EQ(draw_runs(sheet("a", 10).runs, 3, 7), (std::vector<std::size_t>{5, 7, 8}));
}

TEST(DrawRuns, small_groups_of_a_sheet_are_pooled_and_half_is_left) {
  JudgedRuns runs;
  for (int i = 0; i < 20; ++i) {
    runs.ran("s#" + std::to_string(i), 1, 1);
    runs.last().gpus = i + 1;  // each row a group of its own
  }
  EXPECT_EQ(draw_runs(runs.runs, 8, 1).size(), 8u);
  EXPECT_EQ(draw_runs(runs.runs, 15, 1).size(), 10u);
  EXPECT_TRUE(draw_runs(sheet("one", 1).runs, 8, 1).empty());
}

TEST(DrawRuns, only_runs_with_a_time_that_nothing_speaks_against) {
  JudgedRuns runs = sheet("a", 4);
  runs.ran_out_of_memory("a#oom", 1, PredictedStatus::ok)
      .failed("a#failed", 1)
      .without_prediction("a#skipped", PredictedStatus::skipped, "hidden not stated")
      .ran("a#doubtful", 1, 1);
  runs.last().suspect = "INCONSISTENT ROW";
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    for (const std::size_t i : draw_runs(runs.runs, 2, seed)) EXPECT_LT(i, 4u);
  }
}

TEST(LeaveOneSheetOut, needs_two_sheets) {
  const JudgedRuns runs = sheet("a", 10);
  EXPECT_FALSE(leave_one_sheet_out(runs.runs, StackProfile{}).has_value());
  EXPECT_FALSE(leave_one_sheet_out({}, StackProfile{}).has_value());
}

TEST(FitOn, needs_runs_to_draw) {
  EXPECT_FALSE(fit_on({}, StackProfile{}, 8, 1).has_value());
  EXPECT_FALSE(fit_on(sheet("a", 1).runs, StackProfile{}, 8, 1).has_value());
}

/// Runs of a small model whose step times are exactly what `truth` predicts.
std::vector<PredictableRun> runs_of(const StackProfile& truth) {
  std::vector<MeasuredRun> measured;
  for (const std::string sheet_name : {"a", "b"}) {
    for (const int data_parallel : {1, 2, 4, 8}) {
      for (const int micro_batch : {1, 2}) {
        MeasuredRun run;
        run.file = "runs.csv";
        run.id = sheet_name + "#" + std::to_string(measured.size());
        run.gpu_type = "A100-80GB";
        run.gpus = data_parallel;
        run.gpus_per_node = 8;
        run.job.model = {.name = "LLaMA-1B",
                         .layers = 24,
                         .hidden = sheet_name == "a" ? 2048 : 1536,
                         .heads = 16,
                         .kv_heads = 16,
                         .head_dim = sheet_name == "a" ? 128 : 96,
                         .ffn_hidden = 5504,
                         .vocab = 32000};
        run.job.seq_length = 1024;
        run.job.global_batch_size = 64;
        run.layout.data_parallel = data_parallel;
        run.layout.micro_batch_size = micro_batch;
        measured.push_back(run);
      }
    }
  }
  std::vector<PredictableRun> runs = prepare_runs(std::move(measured), truth.defaults);
  for (PredictableRun& run : runs) {
    EXPECT_EQ(run.reason, "");
    run.run.step_time_s = predict(run, truth).step_s;
  }
  return runs;
}

TEST(FitOn, recovers_a_stack_from_half_of_its_runs) {
  StackProfile truth;
  truth.matmul_16bit = 0.6;
  const std::vector<PredictableRun> runs = runs_of(truth);
  const StackProfile base;
  EXPECT_GT(validate(runs, base).error.mape, 0.1);

  std::vector<std::int64_t> seen;
  const Expected<HeldOut> held_out =
      fit_on(runs, base, 4, 1, [&](std::int64_t done, std::int64_t) { seen.push_back(done); });
  ASSERT_TRUE(held_out.has_value()) << to_string(held_out.errors());
  const ValidationReport report = judge(runs, held_out->predictions);
  EXPECT_EQ(held_out->fitted_runs, report.skipped.at("took part in the fit"));
  EXPECT_EQ(report.error.runs + held_out->fitted_runs, 16);
  EXPECT_LT(report.error.mape, 0.02);
  EXPECT_EQ(seen, (std::vector<std::int64_t>{0, 1}));
}

TEST(LeaveOneSheetOut, predicts_each_sheet_from_the_other) {
  StackProfile truth;
  truth.matmul_16bit = 0.6;
  const std::vector<PredictableRun> runs = runs_of(truth);
  const Expected<HeldOut> held_out = leave_one_sheet_out(runs, StackProfile{});
  ASSERT_TRUE(held_out.has_value()) << to_string(held_out.errors());
  EXPECT_EQ(held_out->fits, 2);
  EXPECT_EQ(held_out->fitted_runs, 8 + 8);
  const ValidationReport report = judge(runs, held_out->predictions);
  EXPECT_EQ(report.error.runs, 16);
  EXPECT_LT(report.error.mape, 0.03);
}

StackProfile fitted_to(const std::string& file) {
  StackProfile profile;
  profile.name = "fitted";
  profile.matmul_16bit = 0.6;
  profile.loss = 0.9;
  profile.context_gib = 2;
  profile.defaults.recompute_head = true;
  profile.time_residual = 0.01;
  profile.range.emplace();
  profile.evidence = {{.source = file, .runs = 16}};
  profile.spreads = {{"rates.matmul_16bit", 0.1}, {"memory.context_gib", 0.1}};
  return profile;
}

TEST(HasSeen, names_the_files_of_the_evidence) {
  const std::vector<PredictableRun> runs = sheet("a", 2).runs;  // of runs.csv
  EXPECT_TRUE(has_seen(fitted_to("runs.csv"), runs));
  EXPECT_TRUE(has_seen(fitted_to("runs.csv, only \"13B\""), runs));
  EXPECT_FALSE(has_seen(fitted_to("other.csv"), runs));
  EXPECT_FALSE(has_seen(StackProfile{}, runs));
}

TEST(WithoutFit, keeps_facts_and_what_no_fit_has_touched) {
  const StackProfile start = without_fit(fitted_to("runs.csv"));
  const StackProfile uncalibrated;
  EXPECT_EQ(start.matmul_16bit, uncalibrated.matmul_16bit);
  EXPECT_EQ(start.context_gib, uncalibrated.context_gib);
  EXPECT_EQ(start.loss, 0.9);
  EXPECT_TRUE(start.defaults.recompute_head);
  EXPECT_EQ(start.time_residual, uncalibrated.time_residual);
  EXPECT_FALSE(start.range);
  EXPECT_TRUE(start.evidence.empty());
  EXPECT_TRUE(start.spreads.empty());
}

// With the truth as its base a fit is perfect, but a base that has seen the runs must not help.
TEST(LeaveOneSheetOut, learns_nothing_from_a_base_that_has_seen_the_runs) {
  StackProfile truth;
  truth.matmul_16bit = 0.6;
  std::vector<PredictableRun> runs = runs_of(truth);
  for (PredictableRun& run : runs) run.run.file = "runs.csv";
  StackProfile base = truth;
  base.evidence = {{.source = "runs.csv", .runs = 16}};
  base.spreads = {{"rates.matmul_16bit", 0.1}};
  const Expected<HeldOut> seen = leave_one_sheet_out(runs, base);
  const Expected<HeldOut> unseen = leave_one_sheet_out(runs, StackProfile{});
  ASSERT_TRUE(seen && unseen);
  EXPECT_TRUE(seen->started_without_fit);
  EXPECT_FALSE(unseen->started_without_fit);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    EXPECT_EQ(seen->predictions[i].step_s, unseen->predictions[i].step_s) << i;
  }
}

TEST(LeavePartsOut, predicts_every_run_once_from_the_others) {
  StackProfile truth;
  truth.matmul_16bit = 0.6;
  const std::vector<PredictableRun> runs = runs_of(truth);
  const Expected<HeldOut> held_out = leave_parts_out(runs, StackProfile{}, 4);
  ASSERT_TRUE(held_out.has_value()) << to_string(held_out.errors());
  EXPECT_EQ(held_out->fits, 4);
  EXPECT_EQ(held_out->fitted_runs, 4 * 12);  // 16 runs less their quarter, four times
  const ValidationReport report = judge(runs, held_out->predictions);
  EXPECT_EQ(report.error.runs, 16);
  EXPECT_LT(report.error.mape, 0.03);
  EXPECT_FALSE(leave_parts_out(runs, StackProfile{}, 17).has_value());
}

}  // namespace
}  // namespace kumihimo
