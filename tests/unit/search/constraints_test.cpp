#include "search/constraints.hpp"

#include <gtest/gtest.h>

#include "cost/stack_choice.hpp"
#include "cost/stack_profile_file.hpp"
#include "example.hpp"

namespace kumihimo {
namespace {

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
