#include "calibrate/stack_of_runs.hpp"

#include <gtest/gtest.h>

#include "cluster/cluster_file.hpp"

namespace kumihimo {
namespace {

MeasuredRun run_of(const std::string& source, const std::string& gpu_type) {
  MeasuredRun run;
  run.source = source;
  run.gpu_type = gpu_type;
  return run;
}

std::string stack_of(const std::string& source, const std::string& gpu_type) {
  return stack_of_runs({run_of(source, gpu_type)});
}

TEST(StackOfRuns, IsThatWhichTheSourceNames) {
  EXPECT_EQ(stack_of("pytorch/TorchTitan@b5bcd76 benchmarks/x.md", "H100"), "torchtitan-2025-h100");
  EXPECT_EQ(stack_of("a copy of nanotron's playbook", "H100"), "nanotron-2025-h100");
  EXPECT_EQ(stack_of("arXiv 2104.04473 Table 1", "A100-80GB"), "megatron-2021-a100");
}

TEST(StackOfRuns, OfSeveralItIsTheOneMeasuredOnTheDevice) {
  EXPECT_EQ(stack_of("mosaicml/llm-foundry", "A100-80GB"), "fsdp-2023-a100");
  EXPECT_EQ(stack_of("mosaicml/llm-foundry", "H100-80GB"), "fsdp-2023-h100");
  // Measured on neither.
  EXPECT_EQ(stack_of("mosaicml/llm-foundry", "V100-SXM2-32GB"), "fsdp-2023-a100");
}

TEST(StackOfRuns, IsTheClustersWhereTheSourceNamesNone) {
  EXPECT_EQ(stack_of("our own", "A100-80GB"), "megatron-2023-a100");
  EXPECT_EQ(stack_of("our own", "H100-80GB"), "megatron-bridge-2025-h100");
  EXPECT_EQ(stack_of("our own", "an abacus"), "uncalibrated");
  MeasuredRun trial = run_of("a study", "here");
  trial.cluster = *read_cluster("rtx-4090");
  EXPECT_EQ(stack_of_runs({trial}), "llmq-2026");
}

TEST(StackOfRuns, MostUsableRunsDecide) {
  const MeasuredRun nanotron = run_of("nanotron", "H100"), own = run_of("our own", "A100-80GB");
  EXPECT_EQ(stack_of_runs({nanotron, own, own}), "megatron-2023-a100");
  MeasuredRun skipped = own;
  skipped.skip_reason = "hidden not stated";
  EXPECT_EQ(stack_of_runs({nanotron, skipped, skipped}), "nanotron-2025-h100");
  EXPECT_EQ(stack_of_runs({}), "uncalibrated");
}

}  // namespace
}  // namespace kumihimo
