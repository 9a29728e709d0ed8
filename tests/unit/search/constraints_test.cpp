#include "search/constraints.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cluster/cluster_file.hpp"
#include "cost/stack_choice.hpp"
#include "cost/stack_profile_file.hpp"
#include "example.hpp"

namespace kumihimo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

SearchRequest constrained(const Constraints& wanted, Errors& faults) {
  SearchRequest request = testing::llama_13b_on_64_a100();
  request.profile = *read_stack_profile(default_stack(request.cluster));
  constrain(request, wanted, faults);
  return request;
}

TEST(Constraints, NarrowTheDefaultSpaceAndNothingElse) {
  Errors faults;
  const SearchRequest open = constrained({}, faults);
  Constraints wanted;
  wanted.tensor_parallel = {4};
  SearchRequest narrowed = constrained(wanted, faults);
  EXPECT_TRUE(faults.empty());
  EXPECT_EQ(narrowed.space.tensor_parallel, std::vector{4});
  narrowed.space.tensor_parallel = open.space.tensor_parallel;
  EXPECT_EQ(narrowed.space, open.space);
}

TEST(Constraints, GradientsFollowThePrecision) {
  Errors faults;
  const Precision by_default = constrained({}, faults).space.gradient_dtype.front();
  ASSERT_EQ(by_default, Precision::bf16) << "else this tests nothing";
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::fp16}) {
    Constraints wanted;
    wanted.precision = {precision};
    wanted.tensor_parallel = {4};
    wanted.recompute = {Recompute::full};
    SearchRequest request = constrained(wanted, faults);
    EXPECT_FALSE(search(request).best.empty()) << to_string(precision);
  }
}

/// Faults of what is wanted, "where: what" each.
std::vector<std::string> judged(const Constraints& wanted) {
  Errors faults;
  const SearchRequest request = constrained(wanted, faults);
  EXPECT_TRUE(faults.empty());
  judge_constraints(request, wanted, faults);
  std::vector<std::string> texts;
  for (const Error& fault : faults) texts.push_back(fault.where + ": " + fault.what);
  return texts;
}

TEST(Constraints, WhatNoLayoutCanHaveIsAFaultOfItsFlag) {
  EXPECT_THAT(judged({.attention = {AttentionKernel::flash3}, .precision = {Precision::fp8}}),
              ElementsAre(StartsWith("--attention: flash3 needs Hopper"),
                          StartsWith("--precision: fp8 has no stated peak")));
  EXPECT_THAT(judged({.tensor_parallel = {3, 16}}),
              ElementsAre("--tp: 3 does not divide the 40 attention heads",
                          "--tp: 16 does not divide the 40 attention heads"));
  EXPECT_THAT(judged({.pipeline_parallel = {64}}), ElementsAre(StartsWith("--pp: ")));
  EXPECT_THAT(judged({.micro_batch_size = {3}}), ElementsAre(StartsWith("--micro-batch-size: ")));
  EXPECT_THAT(judged({.tensor_parallel = {8}, .pipeline_parallel = {16, 32}}),
              ElementsAre(StartsWith("--tp, --pp: no tp x pp x cp x dp makes up 64 devices")));
  EXPECT_THAT(judged({.tensor_parallel = {2}, .data_parallel = {64}}),
              ElementsAre(StartsWith("--tp, --dp: ")));
}

TEST(Constraints, AShardingGroupMustDivideTheRanksOfSomeLayout) {
  EXPECT_THAT(judged({.zero_group = {3}}),
              ElementsAre("--zero-group: 3 divides dp x cp of no layout"));
  EXPECT_THAT(judged({.zero_group = {3, 5}}),
              ElementsAre("--zero-group: 3, 5 divides dp x cp of no layout"));
  EXPECT_THAT(judged({.zero_group = {3, 8}}), IsEmpty());
  EXPECT_THAT(judged({.zero_group = {0}}), IsEmpty());
  EXPECT_THAT(judged({.zero_stage = {0}, .zero_group = {3}}), IsEmpty()) << "nothing is sharded";

  Errors faults;
  Constraints wanted{.tensor_parallel = {8}, .pipeline_parallel = {2}, .zero_group = {8}};
  const SearchRequest request = constrained(wanted, faults);  // 64 / 8 / 2 = 4 replicas
  judge_constraints(request, wanted, faults);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].fix, "give one of 2, 4, or 0 for all of dp x cp");
}

TEST(Constraints, KernelsFollowThePrecision) {
  Errors faults;
  SearchRequest request = testing::llama_13b_on_64_a100();
  request.cluster = *read_cluster("h100-80gb-sxm");
  request.profile.defaults.attention = AttentionKernel::flash3;
  Constraints wanted{.tensor_parallel = {4},
                     .recompute = {Recompute::full},
                     .precision = {Precision::fp32, Precision::bf16}};
  constrain(request, wanted, faults);
  EXPECT_THAT(request.space.attention,
              ElementsAre(AttentionKernel::flash2, AttentionKernel::flash3));
  wanted.precision = {Precision::fp32};
  constrain(request, wanted, faults);
  judge_constraints(request, wanted, faults);
  EXPECT_THAT(faults, IsEmpty());
  EXPECT_FALSE(search(request).best.empty());

  wanted.attention = {AttentionKernel::flash3};
  constrain(request, wanted, faults);
  judge_constraints(request, wanted, faults);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].where, "--attention");
  wanted.precision = {Precision::fp32, Precision::bf16};
  constrain(request, wanted, faults = {});
  judge_constraints(request, wanted, faults);
  EXPECT_THAT(faults, IsEmpty()) << "bf16 can";
}

TEST(Constraints, GradientsOverlapAndShardingGroupsCanBeChosen) {
  Errors faults;
  Constraints wanted;
  wanted.zero_stage = {3};
  wanted.zero_group = {8, 0};
  wanted.gradient_dtype = {Precision::fp32};
  wanted.overlap_data_parallel = {false};
  wanted.overlap_tensor_parallel = {true, false};
  const SearchSpace space = constrained(wanted, faults).space;
  EXPECT_EQ(space.zero_group, wanted.zero_group);
  EXPECT_EQ(space.gradient_dtype, wanted.gradient_dtype);
  EXPECT_EQ(space.overlap_data_parallel, wanted.overlap_data_parallel);
  EXPECT_EQ(space.overlap_tensor_parallel, wanted.overlap_tensor_parallel);
  EXPECT_THAT(judged({.gradient_dtype = {Precision::fp16}}),
              ElementsAre("--gradient-dtype: fp16 does not go with precision bf16"));
}

TEST(Constraints, SpeedDecidesBetweenPrecisionsUnlessMfuIsAskedFor) {
  Errors faults;
  EXPECT_EQ(constrained({}, faults).objective, Objective::mfu);
  Constraints wanted;
  wanted.precision = {Precision::fp32, Precision::bf16};
  wanted.tensor_parallel = {4};
  EXPECT_EQ(search(constrained(wanted, faults)).best.front().layout.precision, Precision::bf16);
  wanted.objective = Objective::mfu;
  EXPECT_EQ(search(constrained(wanted, faults)).best.front().layout.precision, Precision::fp32);
}

TEST(Constraints, SomeValuesOfAListMayBeIdle) {
  EXPECT_THAT(judged({.tensor_parallel = {3, 4}}), IsEmpty());
  EXPECT_THAT(judged({.attention = {AttentionKernel::flash2, AttentionKernel::flash3},
                      .precision = {Precision::bf16, Precision::fp8}}),
              IsEmpty());
  EXPECT_THAT(judged({.tensor_parallel = {8}, .pipeline_parallel = {8, 16}}), IsEmpty());
}

TEST(Constraints, ReplicasMustDivideTheDevices) {
  Errors faults;
  Constraints wanted;
  wanted.data_parallel = {8, 24};
  constrained(wanted, faults);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].where, "--dp");
}

}  // namespace
}  // namespace kumihimo
