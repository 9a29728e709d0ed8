#include "cli/program.hpp"

#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "cli/version.hpp"
#include "support/program_runs.hpp"
#include "support/scratch_folder.hpp"

namespace kumihimo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

using kumihimo::testing::Outcome;

Outcome run(std::vector<std::string> arguments) {
  return kumihimo::testing::run_kumihimo(std::move(arguments));
}

const std::string inputs = KUMIHIMO_SOURCE_DIR "/tests/golden/inputs/";

std::vector<std::string> job(std::string command, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments{std::move(command),
                                     "--model",
                                     inputs + "small-llama.json",
                                     "--cluster",
                                     inputs + "two-nodes.toml",
                                     "--stack",
                                     inputs + "stack.toml",
                                     "--global-batch-size",
                                     "64"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(Program, VersionIsThatOfTheProject) {
  std::ifstream file(KUMIHIMO_SOURCE_DIR "/CMakeLists.txt");
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_THAT(text.str(), HasSubstr("VERSION " + std::string(program_version)));
  const Outcome version = run({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_EQ(version.out, "kumihimo " + std::string(program_version) + "\n");
}

TEST(Program, APlanSaysThatItAssumesFp8AndWhichPeakMfuIsOf) {
  std::ifstream file(inputs + "stack.toml");
  std::string stack((std::istreambuf_iterator<char>(file)), {});
  const auto place = stack.find("precision = \"bf16\"");
  ASSERT_NE(place, std::string::npos);
  stack.replace(place + 13, 4, "fp8");
  const std::string path = ::testing::TempDir() + "fp8-stack.toml";
  std::ofstream(path) << stack;
  const std::vector<std::string> arguments{"plan",
                                           "--model",
                                           inputs + "small-llama.json",
                                           "--cluster",
                                           "h100-80gb-sxm",
                                           "--gpus",
                                           "8",
                                           "--global-batch-size",
                                           "64",
                                           "--limit",
                                           "1",
                                           "--stack",
                                           path};
  const Outcome plan = run(arguments);
  EXPECT_EQ(plan.code, 0) << plan.err;
  EXPECT_THAT(plan.out, AllOf(HasSubstr("assumed  --seq-length 2048, --precision fp8\n"),
                              HasSubstr("over the fp8 peak, 1.98 PFLOP/s")));
  std::vector<std::string> in_bf16 = arguments;
  in_bf16.insert(in_bf16.end(), {"--precision", "bf16"});
  EXPECT_THAT(run(in_bf16).out, AllOf(HasSubstr("assumed  --seq-length 2048\n"),
                                      HasSubstr("over the bf16 peak, 989 TFLOP/s")));
}

TEST(Program, EveryCommandHasHelpWithAnExample) {
  for (const char* command : {"plan", "explain", "validate", "calibrate", "train", "models",
                              "clusters", "stacks", "completion", "manual"}) {
    const Outcome help = run({command, "--help"});
    EXPECT_EQ(help.code, 0) << command;
    EXPECT_THAT(help.out,
                AllOf(HasSubstr("Usage: kumihimo " + std::string(command)), HasSubstr("Example:")));
  }
}

TEST(Program, SuggestsTheNearestCommandAndFlag) {
  const Outcome command = run({"explian"});
  EXPECT_EQ(command.code, 2);
  EXPECT_THAT(command.err, HasSubstr("did you mean \"explain\"?"));
  const Outcome flag = run(job("plan", {"--micro-batch", "1"}));
  EXPECT_EQ(flag.code, 2);
  EXPECT_THAT(flag.err, HasSubstr("--micro-batch: is not a flag of `kumihimo plan`; did you mean "
                                  "\"--micro-batch-size\"?"));
}

Outcome explained(const std::string& layout) {
  return run(job("explain", {"--gpus", "2", "--layout", layout}));
}

/// plan counts it as the layout without a schedule; so do its figures and its neighbours' here.
TEST(Program, ExplainsAScheduleWithoutAPipelineAsNone) {
  const Outcome expected = explained("pp=1 dp=2 schedule=1f1b");
  EXPECT_EQ(expected.code, 0) << expected.err;
  EXPECT_EQ(explained("pp=1 dp=2 schedule=gpipe").out, expected.out);
  EXPECT_EQ(explained("pp=1 dp=2 schedule=zb-h1").out, expected.out);
}

TEST(Program, ExplainsShardsAmongOneRankAsNone) {
  const Outcome expected = explained("tp=1 dp=2 zero=0");
  EXPECT_EQ(expected.code, 0) << expected.err;
  EXPECT_EQ(explained("tp=1 dp=2 zero=3 zero-group=1").out, expected.out);
}

TEST(Program, ReportsAllFaultsAtOnceAndPrintsNothingElse) {
  const Outcome bad =
      run({"plan", "--model", "llama-13c", "--cluster", "a100", "--gpus", "many", "--tp", "2,zero",
           "--recompute", "half", "--max-memory", "76", "--nonsense", "--limit"});
  EXPECT_EQ(bad.code, 2);
  EXPECT_EQ(bad.out, "");
  for (const char* fault :
       {"kumihimo: model \"llama-13c\"", "kumihimo: --gpus: is \"many\"",
        "kumihimo: --tp: holds \"zero\"", "kumihimo: --recompute: \"half\" is unknown",
        "kumihimo: --max-memory: is \"76\"", "kumihimo: --nonsense",
        "kumihimo: --limit: has no value"}) {
    EXPECT_THAT(bad.err, HasSubstr(fault));
  }
}

TEST(Program, RemediesNameTheFlagAndValuesThatItTakes) {
  EXPECT_THAT(run(job("plan", {"--max-memory", "0GiB"})).err,
              HasSubstr("kumihimo: --max-memory: is 0; give a positive size"));
  EXPECT_THAT(run(job("plan", {"--zero", "4"})).err,
              HasSubstr("--zero: holds \"4\"; give whole numbers from 0 to 3, as in --zero 0,1\n"));
}

TEST(Program, RefusesAFlagThatIsGivenTwiceOrLacksItsValue) {
  EXPECT_THAT(run(job("plan", {"--gpus", "4", "--gpus", "8"})).err,
              HasSubstr("--gpus: is given more than once: \"4\", \"8\""));
  EXPECT_THAT(run(job("plan", {"--gpus", "--json"})).err,
              HasSubstr("--gpus: has no value: --json follows it"));
}

TEST(Program, RefusesHostileNumbers) {
  for (const char* value : {"0", "-1", "1e3", "nan", "99999999999999999999", "", " 4", "4x"}) {
    const Outcome bad = run(job("plan", {"--gpus", value}));
    EXPECT_EQ(bad.code, 2) << value;
    EXPECT_THAT(bad.err, HasSubstr("--gpus: ")) << value;
  }
  EXPECT_EQ(run(job("plan", {"--min-fit-probability", "nan"})).code, 2);
  EXPECT_EQ(run(job("plan", {"--min-fit-probability", "1.5"})).code, 2);
  EXPECT_EQ(run(job("plan", {"--tokens", "-1T"})).code, 2);
}

TEST(Program, ListsTheCatalogAsJson) {
  for (const std::string kind : {"models", "clusters", "stacks"}) {
    const Outcome list = run({kind, "--json"});
    ASSERT_EQ(list.code, 0) << list.err;
    const auto document = nlohmann::json::parse(list.out);
    EXPECT_EQ(document["schema"], "kumihimo." + kind + "/1");
    EXPECT_TRUE(document[kind].is_array());
  }
  EXPECT_THAT(run({"models", "show", "llama-13b"}).out, HasSubstr("hidden_size"));
}

// Measured at 70.6 % MFU (arXiv:2311.05610, with a vocabulary of 128,000): the case that a user
// tries first. A fit may meet more runs and still lose it.
TEST(Plan, TheFoundingPapersBestLayoutComesFirst) {
  for (const char* vocab : {"32000", "128000"}) {
    const Outcome plan = run({"plan", "--model", "llama-13b", "--cluster", "a100-80gb-sxm",
                              "--gpus", "64", "--seq-length", "2048", "--global-batch-size", "2048",
                              "--vocab-size", vocab, "--json"});
    ASSERT_EQ(plan.code, 0) << plan.err;
    EXPECT_THAT(nlohmann::json::parse(plan.out)["best"][0]["layout"]["text"].get<std::string>(),
                AllOf(HasSubstr("tp=1 pp=1 dp=64 micro-batch=1 "), HasSubstr("recompute=none"),
                      HasSubstr("attention=flash2 norm=fused")))
        << "vocabulary " << vocab;
  }
}

TEST(Plan, HonoursConstraints) {
  const Outcome plan = run(job(
      "plan", {"--tp", "2", "--pp", "2,4", "--recompute", "full", "--limit", "1000", "--json"}));
  ASSERT_EQ(plan.code, 0) << plan.err;
  const auto document = nlohmann::json::parse(plan.out);
  ASSERT_FALSE(document["best"].empty());
  for (const auto& ranked : document["best"]) {
    EXPECT_EQ(ranked["layout"]["tp"], 2);
    EXPECT_NE(ranked["layout"]["pp"], 1);
    EXPECT_EQ(ranked["layout"]["recompute"], "full");
  }
}

TEST(Plan, HonoursTheWantedDataParallelism) {
  const auto considered = [](const std::vector<std::string>& flags) {
    const auto document = nlohmann::json::parse(run(job("plan", flags)).out);
    for (const auto& ranked : document["best"]) EXPECT_EQ(ranked["layout"]["dp"], 2);
    return document["counts"]["considered"].get<int>();
  };
  EXPECT_GT(considered({"--dp", "2", "--json"}), 0);
  const Outcome refused = run(job("plan", {"--dp", "3"}));
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("--dp: holds 3, which does not divide the "));
}

TEST(Plan, RanksTheFastestFirst) {
  const auto document = nlohmann::json::parse(run(job("plan", {"--json"})).out);
  double last = 1;
  for (const auto& ranked : document["best"]) {
    EXPECT_LE(ranked["predicted"]["mfu"], last);
    last = ranked["predicted"]["mfu"];
  }
}

TEST(Plan, NarrowsEveryKnobThatHasAFlag) {
  const Outcome plan =
      run(job("plan", {"--cp", "2", "--micro-batch-size", "1", "--schedule", "zb-h1", "--zero", "1",
                       "--attention", "flash1", "--norm", "unfused", "--precision", "fp16",
                       "--offload", "optimizer", "--sequence-parallel", "off", "--json"}));
  ASSERT_EQ(plan.code, 0) << plan.err;
  const auto document = nlohmann::json::parse(plan.out);
  ASSERT_FALSE(document["best"].empty());
  for (const auto& ranked : document["best"]) {
    const auto& layout = ranked["layout"];
    EXPECT_EQ(layout["cp"], 2);
    EXPECT_EQ(layout["micro_batch"], 1);
    // Without a pipeline every schedule is 1F1B.
    EXPECT_EQ(layout["schedule"], layout["pp"] == 1 ? "1f1b" : "zb-h1");
    EXPECT_EQ(layout["attention"], "flash1");
    EXPECT_EQ(layout["norm"], "unfused");
    EXPECT_EQ(layout["precision"], "fp16");
    EXPECT_EQ(layout["offload"], nlohmann::json::array({"optimizer"}));
    EXPECT_EQ(layout["sequence_parallel"], false);
  }
}

TEST(Plan, AsksForWhatItsObjectiveNeeds) {
  EXPECT_THAT(run(job("plan", {"--objective", "time"})).err, HasSubstr("--tokens: is missing"));
  EXPECT_THAT(run({"plan", "--model", "llama-7b", "--cluster", "a100-80gb-sxm", "--objective",
                   "cost", "--limit", "1"})
                  .err,
              HasSubstr("--price: is missing"));
}

TEST(Plan, SaysThatNothingFits) {
  const Outcome plan = run(job("plan", {"--max-memory", "1GiB"}));
  EXPECT_EQ(plan.code, 3);
  EXPECT_THAT(plan.out, HasSubstr("No layout runs."));
  EXPECT_THAT(plan.err, HasSubstr("no layout fits"));
}

TEST(Plan, IsPlainWhenPiped) {
  const Outcome plan = run(job("plan"));
  EXPECT_THAT(plan.out, Not(HasSubstr("\x1b")));
  EXPECT_EQ(plan.err, "");
}

TEST(Plan, RefusesTokensThatCannotBeMeant) {
  for (const char* tokens : {"1.4", "0.5", "2.5e0"}) {
    const Outcome plan = run(job("plan", {"--tokens", tokens}));
    EXPECT_EQ(plan.code, 2) << tokens;
    EXPECT_THAT(plan.err, HasSubstr("--tokens: is \"" + std::string(tokens) +
                                    "\"; give a whole number, or write "));
  }
  EXPECT_THAT(run(job("plan", {"--tokens", "1.4"})).err,
              HasSubstr("or write 1.4T for 1.4 trillion"));
  // 64 sequences of 2,048 tokens are a step.
  const Outcome few = run(job("plan", {"--tokens", "15", "--seq-length", "2048"}));
  EXPECT_EQ(few.code, 2);
  EXPECT_THAT(few.err, HasSubstr("--tokens: is 15, less than the 131,072 of one step; give those "
                                 "of the whole training, such as 1.4T"));
  EXPECT_EQ(run(job("plan", {"--tokens", "131072", "--seq-length", "2048"})).code, 0);
  EXPECT_EQ(run(job("plan", {"--tokens", "2e12"})).code, 0);
  EXPECT_THAT(run(job("plan", {"--tokens", "0"})).err, HasSubstr("write it like 300B or 1.5T"));
}

TEST(Plan, SaysThatAShardingGroupSuitsNoLayout) {
  const Outcome plan = run(job("plan", {"--gpus", "8", "--zero-group", "3"}));
  EXPECT_EQ(plan.code, 2);
  EXPECT_THAT(plan.err, HasSubstr("--zero-group: 3 divides dp x cp of no layout; give one of 2, 4, "
                                  "8, or 0 for all of dp x cp"));
}

TEST(Program, ChecksOutputPathsBeforeTheWork) {
  const std::string missing = "/no/such/folder/file.toml", folder = ::testing::TempDir();
  const std::vector<std::vector<std::string>> commands{
      job("plan", {"--csv"}),
      job("explain", {"--layout", "tp=2", "--trace"}),
      job("report", {"--out"}),
      {"validate", "--runs", inputs + "runs.csv", "--predictions"},
      {"calibrate", "--from", inputs + "runs.csv", "--base", "uncalibrated", "--out"},
      {"calibrate", "--measure", "--model", "llama-tiny", "--cluster-out", folder + "c.toml",
       "--out"},
      {"train", "--model", "llama-tiny", "--steps", "1", "--trace"}};
  for (std::vector<std::string> command : commands) {
    const std::string flag = command.back();
    command.push_back(missing);
    const Outcome nowhere = run(command);
    EXPECT_EQ(nowhere.code, 2) << command[0];
    EXPECT_EQ(nowhere.out, "") << command[0];
    EXPECT_THAT(nowhere.err, HasSubstr(flag + ": " + missing +
                                       ": cannot be written: No such file or directory; give a "
                                       "path in a folder that exists"));
    command.back() = folder;
    const Outcome directory = run(command);
    EXPECT_EQ(directory.code, 2) << command[0];
    EXPECT_EQ(directory.out, "") << command[0];
    EXPECT_THAT(directory.err, HasSubstr(flag + ": " + folder + ": is a directory; give the path"));
  }
  const Outcome save =
      run({"train", "--model", "llama-tiny", "--steps", "1", "--save", inputs + "runs.csv/states"});
  EXPECT_EQ(save.code, 2);
  EXPECT_THAT(save.err, HasSubstr("--save: " + inputs + "runs.csv/states: cannot be written into"));
}

TEST(Calibrate, FitsOrMeasuresAndSaysWhichFlagsAreOfTheOther) {
  const Outcome measuring = run({"calibrate", "--measure", "--model", "llama-tiny", "--from",
                                 inputs + "runs.csv", "--only", "13B"});
  EXPECT_EQ(measuring.code, 2);
  EXPECT_THAT(
      measuring.err,
      AllOf(HasSubstr("--from: is for fitting, and --measure times this machine; leave one"),
            HasSubstr("--only: is for fitting")));
  const Outcome fitting = run({"calibrate", "--from", inputs + "runs.csv", "--base", "uncalibrated",
                               "--out", "x.toml", "--ranks", "2"});
  EXPECT_EQ(fitting.code, 2);
  EXPECT_THAT(fitting.err, HasSubstr("--ranks: is for --measure; add it, or leave this out"));
}

TEST(Program, SparesTheFileThatItReads) {
  const std::string plan = ::testing::TempDir() + "spared.json";
  std::ofstream(plan) << "{}";
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"report", plan, "--format", "json", "--out"},
                                             {"store", "export", plan, "--csv"},
                                             {"store", "export", plan, "--jsonl"}}) {
    std::vector<std::string> whole = command;
    whole.push_back(plan);
    const Outcome refused = run(whole);
    EXPECT_EQ(refused.code, 2);
    EXPECT_THAT(refused.err, HasSubstr(command.back() + ": " + plan +
                                       ": is the file that is read; give the path of another"));
  }
}

TEST(Report, RefusesAPlanWhoseKeysStandTwiceOrThatGoesOn) {
  const std::string path = ::testing::TempDir() + "twice.json";
  const std::string plan = run(job("plan", {"--json"})).out;
  std::ofstream(path) << plan << '\0' << plan;
  EXPECT_THAT(run({"report", path}).err, HasSubstr("twice.json: is not valid JSON: see line "));
  std::ofstream(path) << "{\"job\": {}," << plan.substr(1);
  const Outcome twice = run({"report", path});
  EXPECT_EQ(twice.code, 2);
  EXPECT_THAT(twice.err, HasSubstr("twice.json: job: stands there twice; keep one of the two"));
}

TEST(Plan, SaysThatItsCsvFoundNoRoom) {
  const Outcome plan = run(job("plan", {"--csv", "/dev/full"}));
  EXPECT_EQ(plan.code, 4);
  EXPECT_THAT(plan.err, HasSubstr("/dev/full: cannot be written"));
}

TEST(Program, SizesOfAModelHaveTheLimitsOfItsFile) {
  EXPECT_THAT(run(job("plan", {"--vocab-size", "0"})).err,
              HasSubstr("--vocab-size: is \"0\"; give a whole number from 1 to 100000000\n"));
  EXPECT_THAT(run(job("plan", {"--layers", "10001"})).err,
              HasSubstr("--layers: is \"10001\"; give a whole number from 1 to 10000\n"));
}

TEST(Explain, WithoutALayoutTakesTheOneThatPlanRanksFirst) {
  const auto plan = nlohmann::json::parse(run(job("plan", {"--gpus", "4", "--json"})).out);
  const auto explained = nlohmann::json::parse(run(job("explain", {"--gpus", "4", "--json"})).out);
  EXPECT_EQ(explained["layout"], plan["best"][0]["layout"]);
  EXPECT_EQ(explained["predicted"], plan["best"][0]["predicted"]);
}

TEST(Explain, OrdersNeighboursByStepTime) {
  const auto explained =
      nlohmann::json::parse(run(job("explain", {"--layout", "tp=2 pp=2", "--json"})).out);
  double last = 0;
  bool fits = true;
  for (const auto& neighbour : explained["neighbours"]) {
    EXPECT_TRUE(fits || !neighbour["fits"].get<bool>());
    fits = neighbour["fits"];
    if (!fits) continue;
    EXPECT_GE(neighbour["predicted"]["step_time_s"], last);
    last = neighbour["predicted"]["step_time_s"];
  }
  EXPECT_GT(last, 0);
}

TEST(Explain, FillsInDataParallelism) {
  const Outcome explained = run(job("explain", {"--layout", "tp=2 pp=2", "--json"}));
  ASSERT_EQ(explained.code, 0) << explained.err;
  EXPECT_EQ(nlohmann::json::parse(explained.out)["layout"]["dp"], 8 / (2 * 2));
}

TEST(Explain, TakesTheDevicesFromAWholeLayout) {
  const Outcome explained = run(job("explain", {"--layout", "tp=2 dp=2", "--json"}));
  ASSERT_EQ(explained.code, 0) << explained.err;
  EXPECT_EQ(nlohmann::json::parse(explained.out)["job"]["gpus"], 2 * 2);
}

TEST(Explain, PartsAddUpToThePredictedStep) {
  for (const char* layout :
       {"tp=2 pp=2", "pp=4 vpp=3", "tp=4 sp=true zero=3", "pp=2 schedule=zb-h1",
        "dp=8 offload=optimizer", "pp=8 micro-batch=2 recompute=full"}) {
    const Outcome explained = run(job("explain", {"--layout", layout, "--json"}));
    const auto document = nlohmann::json::parse(explained.out);
    double sum = 0;
    for (const auto& part : document["time"]["parts"]) sum += part.get<double>();
    const double step_s = document["predicted"]["step_time_s"];
    EXPECT_NEAR(sum, step_s, 1e-9 * step_s) << layout;
  }
}

TEST(Explain, RefusesATraceThatNobodyCanOpen) {
  const testing::ScratchFolder folder;
  const std::string path = folder.file("trace.json");
  const std::vector<std::string> flags{"--gpus",  "1",  "--layout",           "micro-batch=1",
                                       "--trace", path, "--global-batch-size"};
  const auto arguments = [&](const char* batch) {
    std::vector<std::string> all{"explain",
                                 "--model",
                                 inputs + "small-llama.json",
                                 "--cluster",
                                 inputs + "two-nodes.toml",
                                 "--stack",
                                 inputs + "stack.toml"};
    all.insert(all.end(), flags.begin(), flags.end());
    all.emplace_back(batch);
    return all;
  };
  const Outcome refused = run(arguments("100001"));
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("--trace: would hold 200,002 passes, more than the 200,000"));
  EXPECT_FALSE(std::ifstream(path));
  EXPECT_NE(run(arguments("1000")).code, 2);
  EXPECT_TRUE(std::ifstream(path));
}

TEST(Advise, TwoPricesOfADeviceHourMustAgree) {
  const std::vector<std::string> flags{"--current", "tp=4 pp=2 micro-batch=1", "--options",
                                       inputs + "upgrades.toml", "--price"};
  const auto with_price = [&](const char* price, const char* json) {
    std::vector<std::string> more = flags;
    more.emplace_back(price);
    if (*json != 0) more.emplace_back(json);
    return run(job("advise", more));
  };
  for (const char* json : {"", "--json"}) {
    const Outcome other = with_price("3USD", json);
    EXPECT_EQ(other.code, 2);
    EXPECT_EQ(other.out, "");
    EXPECT_THAT(other.err, HasSubstr("--price: is 3USD, but the file of --options states "
                                     "price_per_device_hour 2USD; keep one of the two"));
  }
  EXPECT_EQ(with_price("2USD", "").code, 0);
}

TEST(Explain, ReportsEveryFaultOfALayout) {
  const Outcome bad = run(job("explain", {"--layout", "tp=3 dp=2 micro-batch=3", "--gpus", "8"}));
  EXPECT_EQ(bad.code, 2);
  EXPECT_EQ(bad.out, "");
  EXPECT_GE(std::count(bad.err.begin(), bad.err.end(), '\n'), 3) << bad.err;
}

}  // namespace
}  // namespace kumihimo
