#include "cli/stated_layout.hpp"

#include <gtest/gtest.h>

#include "base/catalog.hpp"
#include "cli/constraint_options.hpp"
#include "cluster/cluster_file.hpp"
#include "cost/stack_profile_file.hpp"
#include "layout/layout_text.hpp"
#include "model/model_catalog.hpp"
#include "search/search.hpp"

namespace kumihimo {
namespace {

PlannedJob planned_with(const std::string& stack) {
  PlannedJob planned;
  planned.job.model = *read_model("llama-13b");
  planned.job.seq_length = 2048;
  planned.job.global_batch_size = 512;
  planned.profile = *read_stack_profile(stack);
  planned.cluster = *read_cluster(planned.profile.cluster);
  planned.job.vocab_multiple = planned.profile.defaults.vocab_multiple;
  planned.devices = 32;
  planned.cluster.nodes = 4;
  planned.cluster.devices_per_node = 8;
  return planned;
}

/// What a text leaves open is the stack's, not the trainer's.
TEST(StatedLayout, IsCompletedAsTheStackDoesIt) {
  PlannedJob planned = planned_with("megatron-2023-a100");
  Errors faults;
  const auto layout = whole_layout("--layout", "tp=2 pp=4 micro-batch=1", planned, faults);
  ASSERT_TRUE(layout) << to_string(faults);
  EXPECT_EQ(layout->data_parallel, 4);
  EXPECT_EQ(layout->zero_stage, planned.profile.defaults.zero_stage);
  EXPECT_EQ(layout->gradient_dtype, planned.profile.defaults.gradient_dtype);
  ASSERT_EQ(planned.assumptions.size(), 1u);
  EXPECT_TRUE(planned.assumptions[0].starts_with("--layout \"… recompute=none"));
}

/// What plan prints can be given back, also where it is not as the stack does it.
TEST(StatedLayout, ReadsAPrintedLayoutAsItIs) {
  PlannedJob planned = planned_with("megatron-2023-a100");
  ASSERT_EQ(planned.profile.defaults.gradient_dtype, Precision::bf16) << "else this tests nothing";
  planned.profile.defaults.overlap_data_parallel = false;
  planned.profile.defaults.overlap_tensor_parallel = true;
  planned.profile.defaults.layer_balance = LayerBalance::blocks;
  ParallelLayout layout;
  layout.tensor_parallel = 2;
  layout.pipeline_parallel = 4;
  layout.data_parallel = 4;
  layout.zero_stage = 1;
  Errors faults;
  const auto read = whole_layout("--layout", to_text(layout), planned, faults);
  ASSERT_TRUE(read) << to_string(faults);
  EXPECT_EQ(to_text(*read), to_text(layout));
  EXPECT_EQ(*read, layout);
  EXPECT_TRUE(planned.assumptions.empty());
}

TEST(StatedLayout, KeepsWhatIsStated) {
  PlannedJob planned = planned_with("megatron-2023-a100");
  Errors faults;
  const auto layout =
      whole_layout("--layout", "zero=3 gradient-dtype=fp32 norm=unfused", planned, faults);
  ASSERT_TRUE(layout) << to_string(faults);
  EXPECT_EQ(layout->zero_stage, 3);
  EXPECT_EQ(layout->gradient_dtype, Precision::fp32);
  EXPECT_EQ(layout->norm, NormKernel::unfused);
}

/// A stack that splits sequences and hides tensor-parallel communication does neither where nothing
/// is split.
TEST(StatedLayout, NeedsNoTensorParallelism) {
  PlannedJob planned = planned_with("nemo-fp8-2024-h100");
  ASSERT_TRUE(planned.profile.defaults.sequence_parallel);
  ASSERT_TRUE(planned.profile.defaults.overlap_tensor_parallel);
  Errors faults;
  const auto alone = whole_layout("--layout", "pp=2", planned, faults);
  const auto split = whole_layout("--layout", "tp=2 pp=2", planned, faults);
  ASSERT_TRUE(alone && split) << to_string(faults);
  EXPECT_FALSE(alone->sequence_parallel || alone->overlap_tensor_parallel);
  EXPECT_TRUE(split->sequence_parallel && split->overlap_tensor_parallel);
}

/// `plan` names layouts for `explain`: what it is given must be what was ranked.
TEST(StatedLayout, IsTheLayoutThatPlanNames) {
  int read_back = 0;
  for (const std::string& stack : catalog_names(CatalogKind::stacks)) {
    PlannedJob planned = planned_with(stack);
    Errors faults;
    const SearchResult found = search(make_request(planned, Constraints{}, faults));
    ASSERT_TRUE(faults.empty()) << stack << ": " << to_string(faults);
    for (const RankedLayout& ranked : found.best) {
      const auto layout = whole_layout("--layout", to_text(ranked.layout), planned, faults);
      ASSERT_TRUE(layout) << to_string(faults);
      EXPECT_EQ(*layout, ranked.layout) << stack << ": " << to_text(ranked.layout);
      ++read_back;
    }
  }
  EXPECT_GT(read_back, 50);
}

}  // namespace
}  // namespace kumihimo
