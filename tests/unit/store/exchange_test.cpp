#include "store/exchange.hpp"

#include <gmock/gmock.h>
#include <span>

#include "runs/measured_run.hpp"
#include "support/scratch_folder.hpp"

namespace kumihimo {
namespace {

using ::testing::HasSubstr;

/// Two rows as a publisher may write them: other columns first, text with commas, blanks.
constexpr std::string_view run_file =
    "notes,table_or_row_id,model_name,hidden,layers,heads,ffn_hidden,seq_len,global_batch,gpus,"
    "gpu_type,tp,pp,dp,micro_batch,step_time_s,mfu,status\n"
    "\"a, b\",t#1,LLaMA-13B,5120,40,40,13824,2048,2048,64,A100-80GB,2,2,16,1,26.54,0.7057,ok\n"
    ",t#2,LLaMA-13B,5120,40,40,13824,2048,2048,64,A100-80GB,1,1,64,8,,,oom\n";

TEST(Exchange, APublishedFileComesOutOfAStoreAsItWentIn) {
  const testing::ScratchFolder folder;
  const auto rows = parse_run_rows(run_file, "runs.csv");
  ASSERT_TRUE(rows) << to_string(rows.errors());
  Store store = std::move(*Store::open(folder.file("s.db"), Database::Mode::read_write));
  const std::int64_t study =
      store.import_study("r", imported_trials(*rows, TrialClock::quoted), {});
  const std::vector<RunRow> out = exported_rows(store.trials(study));
  EXPECT_EQ(out, *rows);

  const auto again = parse_runs(run_rows_csv(out), "out.csv");
  ASSERT_TRUE(again) << to_string(again.errors());
  EXPECT_EQ((*again)[0].step_time_s, 26.54);
  EXPECT_EQ((*again)[0].notes, "a, b");
  EXPECT_EQ((*again)[1].status, RunStatus::out_of_memory);
}

TEST(Exchange, EmulatedTrialsStayEmulated) {
  Trial trial{.clock = TrialClock::emulated, .state = TrialState::ok};
  trial.run[RunColumn::source] = "kumihimo sweep";
  trial.run[RunColumn::status] = "ok";
  const std::vector<RunRow> out = exported_rows(std::span(&trial, 1));
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0][RunColumn::source], "kumihimo sweep, emulated");
  const std::vector<Trial> again = imported_trials(out, TrialClock::quoted);
  EXPECT_EQ(again[0].clock, TrialClock::emulated);
  EXPECT_EQ(again[0].run[RunColumn::source], "kumihimo sweep");
}

TEST(Exchange, AnImportThatFailsLeavesNoStudyInTheWay) {
  const testing::ScratchFolder folder;
  Store store = std::move(*Store::open(folder.file("s.db"), Database::Mode::read_write));
  const Trial trial{.layout = "tp=2", .repetition = 0, .state = TrialState::ok};
  const std::vector<Trial> twice{trial, trial};  // a trial counts once
  EXPECT_THROW(store.import_study("r", twice, {}), StoreFailure);
  EXPECT_FALSE(store.find_study("r"));
}

TEST(Exchange, WhatSaysNothingIsNotARun) {
  std::vector<Trial> trials(4);
  trials[0].state = TrialState::running;
  trials[1].state = TrialState::cancelled;
  trials[2].state = TrialState::infeasible;
  trials[3].state = TrialState::timeout;
  trials[3].run[RunColumn::status] = "error";  // as the store derives it
  EXPECT_EQ(exported_rows(trials).size(), 1U);
}

TEST(Exchange, JsonLinesLoseNothing) {
  ExchangedTrial trial{.study = "night \"1\""};
  trial.trial.layout = "tp=2 pp=1";
  trial.trial.repetition = 3;
  trial.trial.clock = TrialClock::emulated;
  trial.trial.state = TrialState::timeout;
  trial.trial.reason = "no step for 60 s";
  trial.trial.forecast = TrialForecast{0.1, 0.2, 0.3, 0.4};
  trial.trial.duration_s = 60.25;
  trial.trial.run[RunColumn::notes] = "line\nbreak";
  trial.steps = {{1, 0.30000000000000004, std::nullopt, true}, {2, 0.5, 3.25, false}};
  const std::string line = trial_json_line(trial);
  const auto read = parse_trial_lines(line + "\n" + line, "t.jsonl");
  ASSERT_TRUE(read) << to_string(read.errors());
  ASSERT_EQ(read->size(), 2U);
  EXPECT_EQ(trial_json_line((*read)[0]), line);
  EXPECT_EQ((*read)[1].steps, trial.steps);
}

TEST(Exchange, FaultsOfJsonLinesAreListedWithTheirLines) {
  const auto read = parse_trial_lines(
      "{\"schema\": \"kumihimo.trial/1\", \"study\": 7, \"state\": \"odd\"}\nnot json\n[1]\n"
      "{\"study\": \"a\", \"study\": \"b\"}\n",
      "t.jsonl");
  ASSERT_FALSE(read);
  const std::string said = to_string(read.errors());
  EXPECT_THAT(said, HasSubstr("t.jsonl:1: study: has the wrong type"));
  EXPECT_THAT(said, HasSubstr("t.jsonl:1: state: is unknown"));
  EXPECT_THAT(said, HasSubstr("t.jsonl:1: run: is missing"));
  EXPECT_THAT(said, HasSubstr("t.jsonl:2: is not valid JSON: see column 2; give one object"));
  EXPECT_THAT(said, HasSubstr("t.jsonl:3: is not a JSON object; give one object"));
  EXPECT_THAT(said, HasSubstr("t.jsonl:4: study: stands there twice; keep one of the two"));
}

}  // namespace
}  // namespace kumihimo
