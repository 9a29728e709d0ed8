#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/program_runs.hpp"

namespace kumihimo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

testing::Outcome train(std::vector<std::string> flags) {
  std::vector<std::string> arguments{"train", "--model", "llama-tiny", "--backend", "reference"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return testing::run_kumihimo(arguments);
}

TEST(TrainFlags, AllFaultsAreReportedAtOnceBeforeAnyRankStarts) {
  const auto bad = train({"--steps", "0", "--optimizer", "adam", "--schedule", "2f2b", "--beta1",
                          "1", "--device-memory", "512", "--ranks", "processes", "--peak", "115",
                          "--lr-schedule", "linear", "--fp8-scaling", "late", "--nonsense"});
  EXPECT_EQ(bad.code, 2);
  EXPECT_EQ(bad.out, "");
  for (const char* fault :
       {"--steps: is \"0\"", "--optimizer: \"adam\" is unknown; did you mean \"adamw\"?",
        "--schedule: \"2f2b\" is unknown", "--beta1: is \"1\"", "--device-memory: is \"512\"",
        "--ranks: \"processes\" is unknown", "--peak: is \"115\"", "--lr-schedule: \"linear\"",
        "--fp8-scaling: \"late\"", "--nonsense: is not a flag of `kumihimo train`"}) {
    EXPECT_THAT(bad.err, HasSubstr(fault));
  }
}

TEST(TrainFlags, LayoutsThatCannotTrainAreRefusedWithTheRemedy) {
  // llama-tiny has 4 heads and 4 layers.
  const auto bad = train({"--tp", "3", "--pp", "8", "--global-batch-size", "16",
                          "--micro-batch-size", "5", "--layout", "cp=2"});
  EXPECT_EQ(bad.code, 2);
  for (const char* fault :
       {"--tp: 3 does not divide the 4 attention heads; use one of 1, 2, 4",
        "--pp: pp 8 x vpp 1 = 8 stages for 4 layers; keep pp x vpp at or below 4",
        "--micro-batch-size: dp 1 x micro-batch 5 = 5 does not divide the global batch of 16",
        "--cp: is 2: the trainer has no ring attention"}) {
    EXPECT_THAT(bad.err, HasSubstr(fault));
  }
}

TEST(TrainFlags, WhatOnlyThePlannerKnowsIsRefused) {
  const auto bad = train({"--schedule", "zb-h1", "--pp", "2", "--dp", "2", "--zero", "2"});
  EXPECT_EQ(bad.code, 2);
  EXPECT_THAT(bad.err, AllOf(HasSubstr("--zero: 2 with the zb-h1 schedule"),
                             HasSubstr("use --zero 1, or --schedule 1f1b")));
  EXPECT_THAT(train({"--precision", "fp16"}).err, HasSubstr("--precision"));
  for (const char* what : {"activations", "weights", "optimizer+activations"}) {
    const auto refused = train({"--offload", what});
    EXPECT_EQ(refused.code, 2);
    EXPECT_THAT(refused.err, HasSubstr("--offload: of activations and weights is planned, not "
                                       "trained; give --offload optimizer"));
  }
  const auto recorded = train({"--cuda-graphs"});
  EXPECT_EQ(recorded.code, 2);
  EXPECT_THAT(recorded.err, HasSubstr("--cuda-graphs: is for --backend cuda"));
}

TEST(TrainFlags, AComparisonTakesTwoPrecisionsOnThreadsAndSavesNothing) {
  const auto bad = train({"--compare-precision", "fp16,fp8", "--precision", "bf16", "--ranks",
                          "emulated", "--cluster", "cpu", "--save", "states"});
  EXPECT_EQ(bad.code, 2);
  for (const char* fault :
       {"--compare-precision: fp16 is not trained; use fp32, bf16 or fp8",
        "--precision: names a third beside --compare-precision; leave it out",
        "--compare-precision: runs on threads of one process only",
        "--compare-precision: trains two models, and saves or resumes neither"}) {
    EXPECT_THAT(bad.err, HasSubstr(fault));
  }
  const auto of_one = train(
      {"--compare-precision", "bf16,fp8", "--json-log", "steps.jsonl", "--trace", "steps.json"});
  EXPECT_EQ(of_one.code, 2);
  for (const char* flag : {"--json-log", "--trace"}) {
    EXPECT_THAT(of_one.err,
                HasSubstr(flag + std::string(": is for one training, and --compare-precision "
                                             "makes two; leave it out")));
  }
  EXPECT_THAT(train({"--compare-precision", "fp8"}).err,
              HasSubstr("--compare-precision: names 1 precisions; give two, such as bf16,fp8"));
  EXPECT_THAT(train({"--tolerance", "1%"}).err,
              HasSubstr("--tolerance: is for --compare-precision"));
}

TEST(TrainFlags, ASettingIsGivenOnceAsTextOrAsFlag) {
  const auto bad = train({"--layout", "tp=2 pp=2", "--tp", "2"});
  EXPECT_EQ(bad.code, 2);
  EXPECT_THAT(bad.err, HasSubstr("--tp: "));
  EXPECT_THAT(train({"--tp", "2 pp=2"}).err, HasSubstr("--tp: is \"2 pp=2\"; give one value"));
}

TEST(TrainFlags, EmulatedRanksNeedAClusterAndOthersHaveNone) {
  EXPECT_THAT(train({"--ranks", "emulated"}).err, HasSubstr("--cluster: is missing"));
  EXPECT_THAT(train({"--cluster", "h200-sxm"}).err,
              HasSubstr("--cluster: is for emulated ranks; add --ranks emulated"));
  // The catalog's cpu is a node of 2.
  EXPECT_THAT(train({"--ranks", "emulated", "--cluster", "cpu", "--tp", "4"}).err,
              HasSubstr("--cluster: cpu has 2 devices for 4 ranks"));
}

TEST(TrainFlags, DataMustSuitTheModel) {
  EXPECT_THAT(train({"--vocab-size", "100"}).err, HasSubstr("--data: is missing"));
  EXPECT_THAT(train({"--data", "/no/such/corpus.txt"}).err, HasSubstr("/no/such/corpus.txt"));
  EXPECT_THAT(train({"--min-lr", "0.1"}).err, HasSubstr("--min-lr: is 0.1, above"));
}

}  // namespace
}  // namespace kumihimo
