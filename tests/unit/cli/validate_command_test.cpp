#include <algorithm>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <string>
#include <unistd.h>
#include <vector>

#include "base/files.hpp"
#include "cli/program.hpp"
#include "cost/stack_profile_file.hpp"

namespace kumihimo {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// Runs of a small model on one node, in two sheets, and a profile to predict them with.
class CommandsOnRuns : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("kumihimo_runs_test_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    StackProfile profile;
    profile.name = "start";
    profile.origin = "a guess";
    profile.cluster = "a100-80gb-sxm";
    write("start.toml", write_stack_profile(profile));
    std::string rows;
    for (const std::string sheet : {"a", "b"}) {
      for (int i = 1; i <= 6; ++i) {
        const int gpus = i <= 3 ? 1 : 2;
        rows +=
            row(sheet + "#" + std::to_string(i), gpus, 1 << (i % 3), 12.0 / gpus + 0.1 * i, "ok");
      }
    }
    rows += row("a#failed", 1, 1, 0, "error");
    write("runs.csv", header + rows);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
  }
  bool exists(const std::string& name) const { return std::filesystem::exists(path(name)); }

  struct Outcome {
    int code;
    std::string out, err;
  };
  Outcome run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "kumihimo");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const int code = run_program(static_cast<int>(argv.size()), argv.data());
    const std::string out = testing::internal::GetCapturedStdout();
    return {code, out, testing::internal::GetCapturedStderr()};
  }
  Outcome validate(std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments{"validate", "--runs", path("runs.csv"), "--stack",
                                       path("start.toml")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  Outcome calibrate(std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments{"calibrate",        "--from", path("runs.csv"),   "--base",
                                       path("start.toml"), "--out",  path("fitted.toml")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }

  static std::string row(const std::string& id, int gpus, int micro_batch, double step_time_s,
                         const std::string& status) {
    const std::string time = step_time_s > 0 ? std::to_string(step_time_s) : "";
    return "made up," + id + ",LLaMA-1B,2048,24,16,16,5504,32000,1024,32," + std::to_string(gpus) +
           ",A100,8,1,1," + std::to_string(gpus) + "," + std::to_string(micro_batch) +
           ",none,bf16,flash2," + time + "," + status + "\n";
  }

  static constexpr const char* header =
      "source,table_or_row_id,model_name,hidden,layers,heads,kv_heads,ffn_hidden,vocab,seq_len,"
      "global_batch,gpus,gpu_type,gpus_per_node,tp,pp,dp,micro_batch,recompute,precision,"
      "attention_kernel,step_time_s,status\n";

 private:
  std::filesystem::path folder_;
};

TEST_F(CommandsOnRuns, validate_prints_groups_and_totals) {
  const Outcome outcome = validate();
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("13 rows, 12 used, 1 skipped, in 4 groups"));
  EXPECT_THAT(outcome.out, HasSubstr("1  failed, cause not stated"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("\x1b[")));
}

TEST_F(CommandsOnRuns, validate_json_agrees_with_the_predictions_file) {
  const Outcome outcome = validate({"--json", "--predictions", path("predictions.csv")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["schema"], "kumihimo.validate/1");
  EXPECT_EQ(json["stack"]["name"], "start");
  EXPECT_EQ(json["rows"], 13);
  EXPECT_EQ(json["step_time"]["runs"], 12);
  EXPECT_EQ(json["groups"].size(), 4u);
  EXPECT_EQ(json["groups"][0]["rows"], 4);
  const auto predictions = read_file(path("predictions.csv"), 1 << 20);
  ASSERT_TRUE(predictions.has_value());
  EXPECT_EQ(std::count(predictions->begin(), predictions->end(), '\n'), 1 + 13);
}

TEST_F(CommandsOnRuns, validate_fits_on_some_and_judges_the_others) {
  const Outcome outcome = validate({"--fit-on", "3", "--seed", "7", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  // Groups of three runs are pooled by sheet: three of six are drawn from either.
  EXPECT_EQ(json["fit"]["fitted_rows"], 3 + 3);
  EXPECT_EQ(json["skipped"]["took part in the fit"], 3 + 3);
  EXPECT_EQ(json["step_time"]["runs"], 12 - 6);
  EXPECT_EQ(json["fit"]["seed"], 7);
  EXPECT_EQ(outcome.out, validate({"--fit-on", "3", "--seed", "7", "--json"}).out);
}

TEST_F(CommandsOnRuns, validate_leaves_each_sheet_out) {
  const Outcome outcome = validate({"--leave-one-out", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["fit"]["fits"], 2);
  EXPECT_EQ(json["step_time"]["runs"], 12);
}

TEST_F(CommandsOnRuns, validate_fails_when_the_error_exceeds_the_limit) {
  EXPECT_EQ(validate({"--max-mape", "100000"}).code, 0);
  const Outcome exceeded = validate({"--max-mape", "0"});
  EXPECT_EQ(exceeded.code, 1);
  EXPECT_THAT(exceeded.err, HasSubstr("--max-mape: is exceeded"));
  EXPECT_THAT(exceeded.out, HasSubstr("13 rows"));

  write("runs.csv", std::string(header) + row("x", 1, 1, 0, "error"));
  EXPECT_EQ(validate({"--max-mape", "50"}).code, 1);
}

TEST_F(CommandsOnRuns, validate_names_every_fault_at_once) {
  const Outcome outcome =
      run({"validate", "--runs", path("absent.csv"), "--stack", path("absent.toml"), "--fit-on",
           "0", "--leave-one-out", "--max-mape", "nan", "--seed", "-1"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("absent.csv"), HasSubstr("absent.toml"),
                                 HasSubstr("--fit-on: is \"0\""), HasSubstr("--leave-one-out"),
                                 HasSubstr("--max-mape"), HasSubstr("--seed")));
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(run({"validate", "--stack", path("start.toml")}).err,
              HasSubstr("--runs: is missing"));
}

TEST_F(CommandsOnRuns, predictions_that_cannot_be_written_are_said) {
  const Outcome outcome = validate({"--predictions", path("absent/predictions.csv")});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, HasSubstr("absent/predictions.csv"));
}

TEST_F(CommandsOnRuns, calibrate_writes_a_profile_that_predicts_better) {
  const Outcome outcome = calibrate({"--name", "mine", "--description", "our stack"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("rates.matmul_16bit"), HasSubstr("not constrained: kept"),
                    HasSubstr("12 with a step time")));

  const Expected<StackProfile> fitted = read_stack_profile(path("fitted.toml"));
  ASSERT_TRUE(fitted.has_value()) << to_string(fitted.errors());
  EXPECT_EQ(fitted->name, "mine");
  EXPECT_EQ(fitted->description, "our stack");
  EXPECT_EQ(fitted->cluster, "a100-80gb-sxm");
  EXPECT_THAT(fitted->origin, HasSubstr("12 runs of runs.csv"));
  ASSERT_EQ(fitted->evidence.size(), 2u);
  EXPECT_EQ(fitted->evidence[0].runs, 12);
  EXPECT_FALSE(fitted->evidence[0].held_out);
  EXPECT_EQ(fitted->evidence[1].source, "runs.csv, each fifth held out");
  EXPECT_EQ(fitted->evidence[1].runs, 12);
  EXPECT_TRUE(fitted->evidence[1].held_out);
  EXPECT_FALSE(fitted->spreads.empty());
  EXPECT_DOUBLE_EQ(fitted->matmul_fp8, StackProfile{}.matmul_fp8);

  const auto before = nlohmann::json::parse(validate({"--json"}).out);
  const auto after = nlohmann::json::parse(
      run({"validate", "--runs", path("runs.csv"), "--stack", path("fitted.toml"), "--json"}).out);
  EXPECT_LT(after["step_time"]["mape"], before["step_time"]["mape"]);
  EXPECT_NEAR(after["step_time"]["mape"].get<double>(), fitted->evidence[0].mape, 0.5e-4);
}

TEST_F(CommandsOnRuns, calibrate_tells_the_parameters_apart) {
  const Outcome outcome = calibrate({"--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["schema"], "kumihimo.calibrate/1");
  EXPECT_EQ(json["parameters"].size(), profile_parameters().size());
  for (const auto& parameter : json["parameters"]) {
    if (parameter["key"] == "rates.matmul_fp8" || parameter["key"] == "rates.inter_node") {
      EXPECT_EQ(parameter["identification"], "unconstrained") << parameter;
      EXPECT_EQ(parameter["value"], parameter["base"]);
    }
  }
}

TEST_F(CommandsOnRuns, calibrate_takes_the_rows_that_are_asked_for) {
  const Outcome only = calibrate({"--only", "A#", "--json"});
  ASSERT_EQ(only.code, 0) << only.err;
  EXPECT_EQ(nlohmann::json::parse(only.out)["time_runs"], 6);
  const Outcome without = calibrate({"--exclude", "b#1", "b#2", "--json"});
  EXPECT_EQ(nlohmann::json::parse(without.out)["time_runs"], 12 - 2);
  const Outcome held_out = calibrate({"--leave-one-out"});
  EXPECT_EQ(held_out.code, 0) << held_out.err;
  EXPECT_EQ(read_stack_profile(path("fitted.toml"))->evidence.size(), 3u);
}

TEST_F(CommandsOnRuns, a_profile_that_has_seen_the_runs_lends_fits_its_facts_alone) {
  ASSERT_EQ(calibrate({}).code, 0);
  const Outcome outcome = run(
      {"validate", "--runs", path("runs.csv"), "--stack", path("fitted.toml"), "--leave-one-out"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              HasSubstr("the profile has seen these runs, so fits start from its facts "
                        "with uncalibrated rates"));
}

TEST_F(CommandsOnRuns, calibrate_refuses_what_it_cannot_fit) {
  const Outcome none = calibrate({"--only", "no such row"});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr("--only: leaves none of 13 rows"));

  const Outcome failed = calibrate({"--only", "failed"});
  EXPECT_EQ(failed.code, 2);
  EXPECT_THAT(failed.err, HasSubstr("none of 1 rows can be fitted to: 1 x failed"));

  const Outcome missing = run({"calibrate", "--out", "fitted.txt"});
  EXPECT_EQ(missing.code, 2);
  EXPECT_THAT(missing.err, AllOf(HasSubstr("--from: is missing"), HasSubstr("--base: is missing"),
                                 HasSubstr("--out: is \"fitted.txt\"")));
  EXPECT_EQ(calibrate({"--only", "a#", "--leave-one-out"}).code, 2);
  EXPECT_FALSE(exists("fitted.toml"));
}

}  // namespace
}  // namespace kumihimo
