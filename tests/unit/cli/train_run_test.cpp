// Whole runs of `kumihimo train` on shapes that plain loops train in moments.

#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string_view>
#include <thread>
#include <unistd.h>

#include "support/program_runs.hpp"
#include "support/scratch_folder.hpp"

namespace kumihimo {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

testing::Outcome train(std::vector<std::string> flags) {
  std::vector<std::string> arguments{
      "train", "--model",   "llama-tiny", "--hidden",     "16",       "--ffn-hidden",
      "32",    "--layers",  "4",          "--seq-length", "8",        "--global-batch-size",
      "8",     "--backend", "reference",  "--peak",       "1GFLOP/s", "--warmup",
      "0"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return testing::run_kumihimo(arguments);
}

std::vector<json> lines_of(const std::string& text) {
  std::vector<json> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
  return lines;
}

TEST(TrainRun, EveryLayoutLogsTheSameLosses) {
  const testing::ScratchFolder folder;
  const auto one = train({"--steps", "3", "--json-log", folder.file("one")});
  ASSERT_EQ(one.code, 0) << one.err;
  const auto eight = train({"--steps", "3", "--json-log", folder.file("eight"), "--tp", "2", "--pp",
                            "2", "--dp", "2", "--sequence-parallel", "--zero", "1"});
  ASSERT_EQ(eight.code, 0) << eight.err;

  const auto alone = lines_of(folder.text_of("one")), together = lines_of(folder.text_of("eight"));
  ASSERT_EQ(alone.size(), 3u);
  ASSERT_EQ(together.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    const double loss = alone[i]["loss"];
    EXPECT_NEAR(together[i]["loss"].get<double>(), loss, 1e-5 * loss);
    EXPECT_EQ(together[i]["step"], i + 1);
  }
  EXPECT_GT(together[0]["time"]["tensor_communication_s"], 0.0);
  EXPECT_GT(together[0]["bubble_s"], 0.0);
}

TEST(TrainRun, AStepsLineHoldsTogether) {
  const testing::ScratchFolder folder;
  const auto run = train({"--steps", "1", "--json-log", folder.file("log"), "--recompute", "full",
                          "--pp", "2", "--dp", "2"});
  ASSERT_EQ(run.code, 0) << run.err;
  const json step = lines_of(folder.text_of("log")).at(0);
  EXPECT_EQ(step["schema"], "kumihimo.train-step/1");
  EXPECT_EQ(step["clock"], "measured");
  const double seconds = step["step_time_s"];
  EXPECT_DOUBLE_EQ(step["tokens_per_s"], 8 * 8 / seconds);
  EXPECT_LT(step["mfu_causal"], step["mfu"].get<double>());
  EXPECT_GT(step["hfu"], step["mfu"].get<double>());
  EXPECT_DOUBLE_EQ(step["communication_exposed_s"],
                   step["time"]["tensor_communication_s"].get<double>() +
                       step["time"]["data_communication_s"].get<double>());
  EXPECT_EQ(step["bubble_s"], step["time"]["pipeline_wait_s"]);
  EXPECT_EQ(step["data_s"], step["time"]["data_loading_s"]);
  double parts = 0;
  for (const auto& part : step["time"]) parts += part.get<double>();
  EXPECT_LE(parts, seconds);  // means over ranks; seconds is the slowest rank's
  ASSERT_EQ(step["rank_times"].size(), 2u * 2);
  double products = 0;
  for (const json& times : step["rank_times"]) {
    EXPECT_GT(times["matrix_products_s"], 0.0);
    products += times["matrix_products_s"].get<double>();
  }
  EXPECT_NEAR(step["time"]["matrix_products_s"], products / 4, 1e-12);
  std::int64_t most = 0;
  for (const auto& bytes : step["peak_memory"]) most += bytes.get<std::int64_t>();
  EXPECT_LE(step["peak_memory_bytes"], most);  // categories peak at different moments
  EXPECT_GT(step["grad_norm"], 0.0);
}

TEST(TrainRun, TheSummaryIsADocument) {
  const auto run = train({"--steps", "4", "--warmup-steps", "1", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const json summary = json::parse(run.out);
  EXPECT_EQ(summary["schema"], "kumihimo.train/1");
  EXPECT_EQ(summary["complete"], true);
  EXPECT_EQ(summary["steps"], 4);
  EXPECT_EQ(summary["timed_steps"], 4 - 1);
  EXPECT_EQ(summary["peak"]["measured"], false);
  EXPECT_EQ(summary["peak_flop_per_s"], 1e9 * summary["peak"]["cores"].get<double>());
  EXPECT_LT(summary["loss_last"], summary["loss_first"].get<double>());
  // In fp32 there is no separate master copy: 4 bytes a weight, and two moments of 4.
  const std::int64_t weights = summary["peak_memory"]["weights_bytes"];
  EXPECT_EQ(summary["peak_memory"]["optimizer_bytes"], 2 * weights);
}

TEST(TrainRun, PrintsWhatItTrainsARowAStepAndWhereTheTimeWent) {
  const auto run = train({"--steps", "2", "--pp", "2", "--profile-data", "--precision", "fp8"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(
      run.out,
      AllOf(HasSubstr("pp=2"), HasSubstr("2 threads of this process"),
            HasSubstr("as given by --peak"),
            HasSubstr("emulated on this back end: numbers are those of the Hopper recipe"),
            HasSubstr("step     loss"), HasSubstr("data\n"), HasSubstr("full attention count"),
            HasSubstr("pipeline wait"), HasSubstr("not predicted"), HasSubstr("Loss ")));
}

TEST(TrainRun, EmulatedFiguresAreLabelled) {
  const testing::ScratchFolder folder;
  const auto run = train({"--steps", "2", "--tp", "2", "--dp", "4", "--ranks", "emulated",
                          "--cluster", "a100-80gb-sxm", "--json-log", folder.file("log")});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("8 emulated"), HasSubstr("links of a100-80gb-sxm"),
                             HasSubstr("Speed (emulated)")));
  for (const json& step : lines_of(folder.text_of("log"))) EXPECT_EQ(step["clock"], "emulated");
}

TEST(TrainRun, TheTraceHasATrackForEachRankAndItsStream) {
  const testing::ScratchFolder folder;
  const auto run =
      train({"--steps", "5", "--tp", "2", "--dp", "2", "--trace", folder.file("trace.json")});
  ASSERT_EQ(run.code, 0) << run.err;
  const json trace = json::parse(folder.text_of("trace.json"));
  std::set<std::string> tracks;
  std::set<int> working;
  for (const json& event : trace["traceEvents"]) {
    if (event["name"] == "thread_name") tracks.insert(event["args"]["name"]);
    if (event["name"] == "process_name") {
      EXPECT_THAT(event["args"]["name"], HasSubstr("steps 3 to 5"));  // the last three
    }
    if (event["name"] == "matrix products") working.insert(event["tid"].get<int>());
  }
  EXPECT_EQ(tracks,
            (std::set<std::string>{"rank 0", "rank 0, beside it", "rank 1", "rank 1, beside it",
                                   "rank 2", "rank 2, beside it", "rank 3", "rank 3, beside it"}));
  EXPECT_EQ(working, (std::set<int>{0, 2, 4, 6}));
}

TEST(TrainRun, BeyondTheMemoryBudgetItEndsWithAReportByCategory) {
  const auto run = train({"--device-memory", "64KiB", "--tp", "2", "--dp", "2"});
  EXPECT_EQ(run.code, 3);
  EXPECT_THAT(run.err, AllOf(HasSubstr("out of memory"), HasSubstr("64.0 KiB"),
                             HasSubstr("weights"), HasSubstr("optimizer")));
}

TEST(TrainRun, WhatIsNoNumberEndsAllRanksWithOneMessage) {
  const auto run = train({"--learning-rate", "1e6", "--clip-norm", "0", "--optimizer", "sgd",
                          "--lr-schedule", "constant", "--tp", "2", "--steps", "50"});
  EXPECT_EQ(run.code, 4);
  constexpr std::string_view what = "the gradient norm of step";  // it is the first to overflow
  const std::size_t first = run.err.find(what);
  ASSERT_NE(first, std::string::npos) << run.err;
  EXPECT_EQ(run.err.find(what, first + 1), std::string::npos) << run.err;
  EXPECT_THAT(run.err, HasSubstr("lower --learning-rate"));
}

TEST(TrainRun, AFullDiskEndsAllRanks) {
  const auto full = train({"--json-log", "/dev/full", "--dp", "2"});
  EXPECT_EQ(full.code, 4);
  EXPECT_THAT(full.err, AllOf(HasSubstr("/dev/full"), HasSubstr("No space left")));
}

std::vector<double> losses_of(const std::string& log) {
  std::vector<double> losses;
  for (const json& step : lines_of(log)) losses.push_back(step["loss"]);
  return losses;
}

TEST(TrainRun, AResumedRunContinuesTheLossCurveInAnotherLayout) {
  const testing::ScratchFolder folder;
  const std::string states = folder.file("states");
  // Cosine decay would depend on --steps.
  const auto flags = [&](std::vector<std::string> more) {
    more.insert(more.end(), {"--lr-schedule", "constant"});
    return more;
  };
  ASSERT_EQ(train(flags({"--steps", "6", "--json-log", folder.file("whole")})).code, 0);
  const auto first =
      train(flags({"--steps", "4", "--tp", "2", "--pp", "2", "--save", states, "--save-every", "3",
                   "--keep", "1", "--json-log", folder.file("resumed")}));
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("State saved as " + states + "/step-00000004"));
  EXPECT_FALSE(std::filesystem::exists(states + "/step-00000003"));  // --keep 1

  const auto rest = train(flags({"--steps", "6", "--dp", "4", "--zero", "3", "--resume", states,
                                 "--verify-state", "--json-log", folder.file("resumed")}));
  ASSERT_EQ(rest.code, 0) << rest.err;
  const auto whole = losses_of(folder.text_of("whole"));
  const auto resumed = losses_of(folder.text_of("resumed"));
  ASSERT_EQ(resumed.size(), 4u + 2);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(resumed[i], whole[i], 1e-5 * whole[i]);
}

TEST(TrainRun, SavedStatesAreNotMixedWithThoseOfAnotherRun) {
  const testing::ScratchFolder folder;
  const std::string states = folder.file("states");
  ASSERT_EQ(train({"--steps", "2", "--save", states}).code, 0);
  const auto again = train({"--steps", "2", "--save", states});
  EXPECT_EQ(again.code, 2);
  EXPECT_THAT(again.err, HasSubstr("go on from it with --resume " + states));
  const auto done = train({"--steps", "2", "--resume", states});
  EXPECT_EQ(done.code, 2);
  EXPECT_THAT(done.err,
              HasSubstr("--steps: is 2, and " + states + "/step-00000002 is after step 2"));
  const auto other = train({"--steps", "4", "--resume", states, "--seed", "2"});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("--seed: is 2"));
  const auto same_length = folder.file("corpus.txt");
  std::ofstream(same_length) << std::string(2'000, 'a');
  const std::string on_text = folder.file("on text");
  ASSERT_EQ(train({"--steps", "2", "--data", same_length, "--save", on_text}).code, 0);
  std::ofstream(same_length) << std::string(2'000, 'b');
  const auto spoilt = train({"--steps", "4", "--data", same_length, "--resume", on_text});
  EXPECT_EQ(spoilt.code, 2);
  EXPECT_THAT(spoilt.err, HasSubstr("--data: is corpus.txt: 2,000 bytes as tokens, sampled hash "));
  const auto from_weights = train({"--steps", "1", "--init-from", states + "/step-00000002"});
  EXPECT_EQ(from_weights.code, 0) << from_weights.err;
}

/// Blocks a signal in this thread and in those that it makes.
class Blocked {
 public:
  explicit Blocked(int signal) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, signal);
    pthread_sigmask(SIG_BLOCK, &signals, &before_);
  }
  ~Blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  Blocked(const Blocked&) = delete;
  Blocked& operator=(const Blocked&) = delete;

 private:
  sigset_t before_;
};

class TrainInterrupted : public ::testing::TestWithParam<int> {};

TEST_P(TrainInterrupted, EndsAllRanksAfterTheStepUnderWay) {
  const testing::ScratchFolder folder;
  const Blocked blocked(GetParam());  // it must reach the program's guard, not the thread below
  std::jthread user([&](const std::stop_token& end) {
    while (!end.stop_requested() && folder.text_of("log").empty()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (!end.stop_requested()) kill(getpid(), GetParam());
  });
  const auto run =
      train({"--steps", "1000000", "--dp", "2", "--tp", "2", "--json-log", folder.file("log")});
  EXPECT_EQ(run.code, 130) << run.err;
  EXPECT_THAT(run.out, HasSubstr("Loss "));  // the summary of what was done
}

INSTANTIATE_TEST_SUITE_P(Signals, TrainInterrupted, ::testing::Values(SIGINT, SIGTERM));

TEST(TrainRun, AComparisonOfPrecisionsEndsWhenAsked) {
  sigset_t interrupt, before;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_BLOCK, &interrupt, &before);
  kill(getpid(), SIGINT);  // waits until somebody asks for it
  const auto run = train({"--steps", "1000", "--compare-precision", "bf16,fp8"});
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(run.code, 130) << run.err;
  EXPECT_EQ(run.out, "") << "a verdict on fewer steps than were asked for";
}

TEST(TrainRun, FiguresOfNoStepAreNull) {
  const auto run = train({"--steps", "1", "--warmup-steps", "1", "--json"});
  ASSERT_EQ(run.code, 0) << run.err;
  const json document = json::parse(run.out);
  for (const char* figure : {"step_time_s", "tokens_per_s", "mfu", "hfu", "bubble_s", "time"}) {
    ASSERT_TRUE(document.contains(figure)) << figure;
    EXPECT_TRUE(document[figure].is_null()) << figure;
  }
}

TEST(TrainRun, OutputThatCannotBeWrittenIsRefusedBeforeTrainingWithAllElseThatIsWrong) {
  const auto run = train({"--json-log", "/no/such/folder/steps.jsonl", "--trace", "/no/such/t",
                          "--steps", "0", "--dp", "2"});
  EXPECT_EQ(run.code, 2);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, AllOf(HasSubstr("--json-log: /no/such/folder/steps.jsonl"),
                             HasSubstr("--trace: /no/such/t"), HasSubstr("--steps")));
}

TEST(TrainRun, ComparingPrecisionsEndsWithAVerdict) {
  const std::vector<std::string> flags{
      "--steps", "4", "--compare-precision", "bf16,fp8", "--tp", "2", "--pp", "2", "--tolerance"};
  const auto with_tolerance = [&](const std::string& tolerance, bool as_json) {
    std::vector<std::string> all = flags;
    all.push_back(tolerance);
    if (as_json) all.emplace_back("--json");
    return train(all);
  };
  const auto wide = with_tolerance("50%", true);
  ASSERT_EQ(wide.code, 0) << wide.err;
  const json document = json::parse(wide.out);
  EXPECT_EQ(document["schema"], "kumihimo.compare-precision/1");
  EXPECT_EQ(document["steps"].size(), 4u);
  EXPECT_EQ(document["trainings"][1]["precision"], "fp8");
  EXPECT_TRUE(document["fp8_emulated"]);
  // 4 layers, 4 products, 3 operands
  EXPECT_EQ(document["trainings"][1]["fp8_tensors"].size(), 4u * 4 * 3);
  EXPECT_GT(document["mean_gap"], 0.0);

  const auto narrow = with_tolerance("0%", false);
  EXPECT_EQ(narrow.code, 1) << narrow.err;
  EXPECT_THAT(narrow.out, AllOf(HasSubstr("fp8 against bf16: not within tolerance"),
                                HasSubstr("fp8 is emulated"), HasSubstr("overflows")));
}

}  // namespace
}  // namespace kumihimo
