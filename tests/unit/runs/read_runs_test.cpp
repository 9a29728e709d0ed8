#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include "layout/validate.hpp"
#include "run_text.hpp"
#include "runs/measured_run.hpp"
#include "runs/model_family.hpp"

namespace kumihimo {
namespace {

std::string errors_of(const std::string& text) {
  const auto runs = parse_runs(text, "f.csv");
  return runs ? "" : to_string(runs.errors());
}

std::string errors_with(const Cells& changes) { return errors_of(file_of({row_with(changes)})); }

TEST(ParseRuns, ReadsJobAndLayout) {
  const MeasuredRun run = run_with({});
  EXPECT_EQ(run.file, "made-up.csv");
  EXPECT_EQ(run.line, 2);
  EXPECT_EQ(run.id, "row 1");
  EXPECT_EQ(run.skip_reason, "");
  EXPECT_EQ(run.gpus, 16);
  EXPECT_EQ(run.gpus_per_node, 8);
  EXPECT_EQ(run.job.model.hidden, 2048);
  EXPECT_EQ(run.job.model.head_dim, 2048 / 16);
  EXPECT_EQ(run.job.model.vocab, 32000);
  EXPECT_EQ(run.job.seq_length, 1024);
  EXPECT_EQ(run.job.global_batch_size, 32);
  EXPECT_EQ(run.layout.devices(), 2 * 2 * 4);
  EXPECT_EQ(run.layout.micro_batch_size, 2);
  EXPECT_EQ(run.layout.schedule, ScheduleKind::one_forward_one_backward);
  EXPECT_EQ(run.layout.attention, AttentionKernel::flash2);
  EXPECT_EQ(run.status, RunStatus::ok);
  EXPECT_EQ(run.step_time_s, 2.0);
  EXPECT_TRUE(run.assumptions.empty());
  EXPECT_EQ(run.suspect, "");
}

TEST(ParseRuns, TakesColumnsInAnyOrderAndIgnoresUnknownOnes) {
  Cells row = plain_row();
  row["AAA first"] = "not a number";
  const auto runs = parse_runs(file_of({row}), "f.csv");
  ASSERT_TRUE(runs);
  EXPECT_EQ(runs->front().job.model.layers, 24);
}

TEST(ParseRuns, KeepsRepeatedIdsInFileOrder) {
  const auto runs = parse_runs(
      file_of({row_with({{"step_time_s", "3"}}), row_with({{"step_time_s", "2"}})}), "f.csv");
  ASSERT_TRUE(runs);
  ASSERT_EQ(runs->size(), 2u);
  EXPECT_EQ((*runs)[0].step_time_s, 3.0);
  EXPECT_EQ((*runs)[1].step_time_s, 2.0);
  EXPECT_EQ((*runs)[1].line, 3);
}

TEST(ParseRuns, ReadsWholeNumbersAsSpreadsheetsWriteThem) {
  EXPECT_EQ(run_with({{"hidden", " 2048.0 "}}).job.model.hidden, 2048);
}

TEST(ParseRuns, ReadsCrlf) {
  std::string text;
  for (const char c : file_of({plain_row()}))
    text += c == '\n' ? std::string("\r\n") : std::string(1, c);
  const auto runs = parse_runs(text, "f.csv");
  ASSERT_TRUE(runs);
  EXPECT_EQ(runs->front().job.model.hidden, 2048);
}

TEST(ParseRuns, RecordsWhatItFillsIn) {
  const MeasuredRun run =
      run_with({{"kv_heads", ""}, {"dp", ""}, {"micro_batch", ""}, {"cp", ""}, {"ep", ""}});
  EXPECT_EQ(run.job.model.kv_heads, 16);
  EXPECT_EQ(run.layout.data_parallel, 16 / (2 * 2));
  EXPECT_EQ(run.layout.micro_batch_size, 1);
  EXPECT_FALSE(run.stated.micro_batch);
  EXPECT_EQ(run.assumptions,
            (std::vector<std::string>{"kv_heads 16: as many as heads", "dp 4: gpus 16 / 4",
                                      "micro_batch 1: not stated"}));
  EXPECT_EQ(run.skip_reason, "");
}

TEST(ParseRuns, FillsTheFfnOfGptAlone) {
  EXPECT_EQ(run_with({{"model_name", "GPT 1B"}, {"ffn_hidden", ""}}).job.model.ffn_hidden,
            4 * 2048);
  EXPECT_EQ(run_with({{"ffn_hidden", ""}}).skip_reason, "ffn_hidden not stated");
}

TEST(ParseRuns, DerivesStepTimeFromTokensPerSecond) {
  const MeasuredRun run = run_with({{"step_time_s", ""}, {"tokens_per_s_per_gpu", "1024"}});
  ASSERT_TRUE(run.step_time_s);
  EXPECT_DOUBLE_EQ(*run.step_time_s, 32.0 * 1024 / (1024 * 16));
  EXPECT_EQ(run.assumptions,
            (std::vector<std::string>{"step_time_s 2: from tokens_per_s_per_gpu"}));
}

TEST(ParseRuns, SuspectsFiguresThatDisagree) {
  // 32 x 1,024 tokens in 2 s on 16 devices are 1,024 tokens/s each.
  EXPECT_EQ(run_with({{"tokens_per_s_per_gpu", "1030"}}).suspect, "");
  EXPECT_EQ(run_with({{"tokens_per_s_per_gpu", "512"}}).suspect,
            "step_time_s is 2, but tokens_per_s_per_gpu gives 4");
  // 16,384 tokens/s of all devices together.
  EXPECT_EQ(run_with({{"notes", "printed tps 16400"}}).suspect, "");
  EXPECT_EQ(run_with({{"notes", "printed tps 32768"}}).suspect,
            "step_time_s is 2, but the rate in its notes gives 1");
}

TEST(ParseRuns, MarksWhatIsStated) {
  const auto stated = run_with({}).stated;
  EXPECT_TRUE(stated.recompute && stated.attention && stated.precision && stated.zero_stage &&
              stated.sequence_parallel && stated.virtual_stages);
  EXPECT_FALSE(stated.norm);
  const auto blank = run_with({{"recompute", ""},
                               {"attention_kernel", ""},
                               {"precision", ""},
                               {"zero_stage", ""},
                               {"seq_parallel", ""},
                               {"vpp", ""}})
                         .stated;
  EXPECT_FALSE(blank.recompute || blank.attention || blank.precision || blank.zero_stage ||
               blank.sequence_parallel || blank.virtual_stages);
}

TEST(ParseRuns, AnUnstatedVocabularyIsThatOfTheFamilyAndAnAssumption) {
  const MeasuredRun run = run_with({{"vocab", ""}});
  EXPECT_EQ(run.job.model.vocab, usual_vocab(run.job.model));
  EXPECT_EQ(run.assumptions.size(), run_with({}).assumptions.size() + 1);
  EXPECT_EQ(run.skip_reason, "");
}

TEST(ParseRuns, ReadsEveryStatus) {
  EXPECT_EQ(run_with({{"status", "oom"}, {"step_time_s", ""}}).status, RunStatus::out_of_memory);
  EXPECT_EQ(run_with({{"status", "OOM"}, {"step_time_s", ""}}).skip_reason, "");
  EXPECT_EQ(run_with({{"status", "error"}, {"step_time_s", ""}}).status, RunStatus::error);
}

TEST(ParseRuns, InterleavesVirtualStages) {
  const MeasuredRun run = run_with({{"vpp", "3"}});
  EXPECT_EQ(run.layout.schedule, ScheduleKind::interleaved);
  EXPECT_EQ(run.layout.virtual_stages(), 2 * 3);
  // Without a pipeline there is nothing to interleave.
  const MeasuredRun flat = run_with({{"vpp", "3"}, {"pp", "1"}, {"dp", "8"}});
  EXPECT_EQ(flat.layout.virtual_stages_per_rank, 1);
  EXPECT_EQ(flat.layout.schedule, ScheduleKind::one_forward_one_backward);
}

TEST(ParseRuns, SequenceParallelNeedsTensorParallel) {
  EXPECT_TRUE(run_with({{"seq_parallel", "1"}}).layout.sequence_parallel);
  EXPECT_FALSE(
      run_with({{"seq_parallel", "1"}, {"tp", "1"}, {"dp", "8"}}).layout.sequence_parallel);
}

TEST(ParseRuns, SkipsWithTheReason) {
  const auto reason = [](const Cells& changes) { return run_with(changes).skip_reason; };
  EXPECT_EQ(reason({{"hidden", ""}, {"layers", ""}}), "hidden, layers not stated");
  EXPECT_EQ(reason({{"seq_len", ""}}), "seq_len not stated");
  EXPECT_EQ(reason({{"global_batch", ""}}), "global_batch not stated");
  EXPECT_EQ(reason({{"gpus", ""}}), "gpus not stated");
  EXPECT_EQ(reason({{"gpu_type", ""}}), "gpu_type not stated");
  EXPECT_EQ(reason({{"dp", "8"}}), "tp 2 x pp 2 x dp 8 x cp 1 = 32, but gpus is 16");
  EXPECT_EQ(reason({{"ep", "8"}}), "ep 8: mixture of experts");
  EXPECT_EQ(reason({{"heads", "15"}, {"kv_heads", "15"}}),
            "heads is 15, which does not divide hidden 2048");
  EXPECT_EQ(reason({{"kv_heads", "3"}}), "kv_heads is 3, which does not divide heads 16");
  // 2048 / 2048 = 1 element a head; rotary positions turn pairs.
  EXPECT_EQ(reason({{"heads", "2048"}, {"kv_heads", "2048"}}),
            "head_dim gives heads of 1 elements");
  EXPECT_EQ(reason({{"heads", "15"}, {"kv_heads", "15"}, {"vocab", ""}}),
            "heads is 15, which does not divide hidden 2048");
  EXPECT_EQ(reason({{"step_time_s", ""}}), "no step time stated");
  EXPECT_EQ(reason({{"step_time_s", ""}, {"memory_gb", "60"}}), "");
  EXPECT_EQ(reason({{"recompute", "some"}}),
            "recompute \"some\" is not known (known: none, selective, full)");
  EXPECT_EQ(reason({{"precision", "nvfp4"}}),
            "precision \"nvfp4\" is not known (known: fp32, tf32, fp16, bf16, fp8 and amp)");
  EXPECT_EQ(reason({{"attention_kernel", "magic"}}),
            "attention_kernel \"magic\" is not known (known: torch, fused, flash, flash2, flash3 "
            "and their spellings)");
}

TEST(ParseRuns, NamesLineColumnAndValueOfEveryFault) {
  EXPECT_EQ(errors_with({{"hidden", "big"}, {"micro_batch", "0"}, {"step_time_s", "-1"}}),
            "f.csv:2: hidden: is \"big\"; a whole number from 1 to 1000000, or blank, is needed; "
            "correct the cell\n"
            "f.csv:2: micro_batch: is \"0\"; a whole number from 1 to 32768, or blank, is needed; "
            "correct the cell\n"
            "f.csv:2: step_time_s: is \"-1\"; a number from 1e-09 to 1e+09, or blank, is needed; "
            "correct the cell\n");
}

TEST(ParseRuns, RefusesHostileNumbers) {
  for (const char* value : {"nan", "inf", "-5", "1e300", "2048.5", "0x10", "99999999999999999999",
                            "--", "5120 ", "１２"}) {
    const bool good = std::string_view(value) == "5120 ";
    EXPECT_EQ(errors_with({{"hidden", value}}).empty(), good) << value;
  }
  for (const char* column :
       {"layers", "heads", "kv_heads", "ffn_hidden", "vocab", "seq_len", "global_batch", "gpus",
        "gpus_per_node", "tp", "pp", "dp", "cp", "ep", "vpp", "micro_batch"}) {
    EXPECT_NE(errors_with({{column, "-1"}}), "") << column;
    EXPECT_NE(errors_with({{column, "1e18"}}), "") << column;
  }
  for (const char* column :
       {"step_time_s", "tokens_per_s_per_gpu", "tflops_per_gpu", "mfu", "hfu", "memory_gb"}) {
    EXPECT_NE(errors_with({{column, "nan"}}), "") << column;
    EXPECT_NE(errors_with({{column, "-1"}}), "") << column;
  }
  EXPECT_NE(errors_with({{"step_time_s", "0"}}), "");
  EXPECT_NE(errors_with({{"mfu", "53"}}), "");
}

TEST(ParseRuns, SurvivesTheLargestAxes) {
  const MeasuredRun run =
      run_with({{"tp", "32768"}, {"pp", "32768"}, {"dp", "32768"}, {"cp", "32768"}});
  EXPECT_EQ(run.layout.devices(), std::int64_t{1} << 60);  // (2^15)^4
  EXPECT_NE(run.skip_reason, "");
}

TEST(ParseRuns, RefusesUnknownWords) {
  EXPECT_NE(errors_with({{"status", "fine"}}).find("f.csv:2: status: is \"fine\""),
            std::string::npos);
  EXPECT_NE(errors_with({{"status", ""}}), "");
  EXPECT_NE(errors_with({{"seq_parallel", "maybe"}}), "");
  EXPECT_NE(errors_with({{"zero_stage", "4"}}), "");
  EXPECT_NE(errors_with({{"zero_stage", "three"}}), "");
  EXPECT_NE(errors_with({{"zero_stage", "1 (shard group -8)"}}), "");
}

TEST(ParseRuns, ShowsLongAndUnprintableValuesShortly) {
  const std::string errors = errors_with({{"hidden", std::string(5000, 'x') + "\n\x1b[31m"}});
  EXPECT_LT(errors.size(), 250u);
  EXPECT_NE(errors_with({{"hidden", "\x1b[31m"}}).find("\"?[31m\""), std::string::npos);
}

TEST(ParseRuns, ListsTwentyFaultsAndCountsTheRest) {
  const std::vector<Cells> rows(25, row_with({{"hidden", "x"}}));
  const auto runs = parse_runs(file_of(rows), "f.csv");
  ASSERT_FALSE(runs);
  ASSERT_EQ(runs.errors().size(), 21u);
  EXPECT_EQ(runs.errors().back().what, "and 5 more");
}

TEST(ParseRuns, ListsAllMissingColumnsAtOnce) {
  Cells row = plain_row();
  row.erase("hidden");
  row.erase("tp");
  row.erase("notes");  // which may be missing
  EXPECT_EQ(errors_of(file_of({row})),
            "f.csv: header: lacks the columns hidden, tp; name them in the first line; the schema "
            "stands in docs/runs.md\n");
}

TEST(ParseRuns, RefusesARepeatedColumn) {
  std::string text = file_of({plain_row()});
  text.insert(text.find('\n'), ",hidden");
  EXPECT_NE(errors_of(text).find("names the column hidden twice"), std::string::npos);
}

TEST(ParseRuns, RefusesTextThatIsNoTable) {
  EXPECT_NE(errors_of("").find("f.csv: is empty"), std::string::npos);
  EXPECT_NE(errors_of("\n\n").find("f.csv: is empty"), std::string::npos);
  EXPECT_NE(errors_of("\"open").find("f.csv:1: opens a quote"), std::string::npos);
  EXPECT_NE(errors_of(std::string(10, '\0')).find("NUL"), std::string::npos);
  EXPECT_NE(errors_of(file_of({plain_row()}) + "1,2\n").find("f.csv:3: has 2 fields"),
            std::string::npos);
  EXPECT_NE(errors_of(file_of({plain_row()}) + "\"open\n").find("f.csv:3: opens a quote"),
            std::string::npos);
}

TEST(ParseRuns, TakesAHeaderWithoutRows) {
  std::string text = file_of({plain_row()});
  text.resize(text.find('\n'));
  const auto runs = parse_runs(text, "f.csv");
  ASSERT_TRUE(runs);
  EXPECT_TRUE(runs->empty());
}

TEST(ReadRuns, ReadsAFileAndRefusesADirectory) {
  const auto folder = std::filesystem::temp_directory_path() / "kumihimo_read_runs_test";
  std::filesystem::create_directories(folder);
  const auto path = folder / "mine.csv";
  std::ofstream(path) << file_of({plain_row()});
  const auto runs = read_runs(path);
  ASSERT_TRUE(runs);
  EXPECT_EQ(runs->front().file, "mine.csv");
  EXPECT_FALSE(read_runs(folder));
  EXPECT_FALSE(read_runs(folder / "absent.csv"));
  std::filesystem::remove_all(folder);
}

TEST(CompleteRun, FillsOnlyWhatIsNotStated) {
  FrameworkDefaults defaults;
  defaults.recompute = Recompute::full;
  defaults.attention = AttentionKernel::fused_softmax;
  defaults.norm = NormKernel::unfused;
  defaults.precision = Precision::fp16;
  defaults.gradient_dtype = Precision::bf16;
  defaults.zero_stage = 3;
  defaults.sequence_parallel = true;
  defaults.overlap_data_parallel = false;
  defaults.overlap_tensor_parallel = true;
  defaults.vocab_multiple = 128;

  const MeasuredRun stated = complete_run(run_with({}), defaults);
  EXPECT_EQ(stated.layout.recompute, Recompute::none);
  EXPECT_EQ(stated.layout.attention, AttentionKernel::flash2);
  EXPECT_EQ(stated.layout.norm, NormKernel::unfused);  // no column states it
  EXPECT_EQ(stated.layout.precision, Precision::bf16);
  EXPECT_EQ(stated.layout.zero_stage, 1);
  EXPECT_FALSE(stated.layout.sequence_parallel);
  EXPECT_EQ(stated.job.model.vocab, 32000);

  const MeasuredRun filled = complete_run(run_with({{"recompute", ""},
                                                    {"attention_kernel", ""},
                                                    {"precision", ""},
                                                    {"zero_stage", ""},
                                                    {"seq_parallel", ""}}),
                                          defaults);
  EXPECT_EQ(filled.layout.recompute, Recompute::full);
  EXPECT_EQ(filled.layout.attention, AttentionKernel::fused_softmax);
  EXPECT_EQ(filled.layout.precision, Precision::fp16);
  EXPECT_EQ(filled.layout.gradient_dtype, Precision::bf16);
  EXPECT_EQ(filled.layout.zero_stage, 3);
  EXPECT_TRUE(filled.layout.sequence_parallel);
  EXPECT_FALSE(filled.layout.overlap_data_parallel);
  EXPECT_TRUE(filled.layout.overlap_tensor_parallel);
  EXPECT_EQ(filled.job.vocab_multiple, 128);
  EXPECT_EQ(filled.assumptions.size(), 6u);  // the five blanks and the norm kernel
}

TEST(CompleteRun, LeavesOneTensorRankWithoutSequenceParallelism) {
  FrameworkDefaults defaults;
  defaults.sequence_parallel = defaults.overlap_tensor_parallel = true;
  const MeasuredRun run =
      complete_run(run_with({{"seq_parallel", ""}, {"tp", "1"}, {"dp", "8"}}), defaults);
  EXPECT_FALSE(run.layout.sequence_parallel);
  EXPECT_FALSE(run.layout.overlap_tensor_parallel);
}

}  // namespace
}  // namespace kumihimo
