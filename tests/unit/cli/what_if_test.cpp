#include "what_if/what_if.hpp"

#include <gtest/gtest.h>
#include <random>

#include "cli/constraint_options.hpp"
#include "cluster/cluster_file.hpp"
#include "cost/stack_choice.hpp"
#include "cost/stack_profile_file.hpp"
#include "layout/names.hpp"
#include "layout/validate.hpp"
#include "model/model_catalog.hpp"
#include "report/messages.hpp"

namespace kumihimo {
namespace {

/// The page asks the planner exactly what `plan` asks it about the same job, machine and kernels.
TEST(WhatIf, AsksWhatPlanAsks) {
  PlannedJob planned;
  planned.job.model = *read_model("llama-65b");
  planned.job.seq_length = 2048;
  planned.job.global_batch_size = 2048;
  planned.cluster = *read_cluster("h100-80gb-sxm");
  planned.profile = *read_stack_profile(default_stack(planned.cluster));
  planned.job.vocab_multiple = planned.profile.defaults.vocab_multiple;
  planned.devices = 128;
  Constraints constraints;
  constraints.tensor_parallel = {2, 4, 8};
  const WhatIfBasis basis{.job = planned.job,
                          .cluster = planned.cluster,
                          .profile = planned.profile,
                          .devices = planned.devices,
                          .constraints = constraints};
  std::mt19937 random(7);
  const auto any = [&](const WhatIfControl& control) -> const WhatIfControl::Stop& {
    return control.stops[random() % control.stops.size()];
  };
  const std::vector<WhatIfControl> controls = what_if_controls(basis);
  for (int i = 0; i < 50; ++i) {
    const auto whole = [&](std::size_t control) {
      return static_cast<std::int64_t>(any(controls[control]).amount);
    };
    const WhatIfSettings settings{
        .devices = whole(0),
        .inter_node_bandwidth = any(controls[1]).amount,
        .intra_node_bandwidth = any(controls[2]).amount,
        .device_memory = whole(3),
        .global_batch_size = whole(4),
        .seq_length = whole(5),
        .attention = *parse_name<AttentionKernel>(any(controls[6]).text, "attention"),
        .norm = *parse_name<NormKernel>(any(controls[7]).text, "norm"),
        .precision = *parse_name<Precision>(any(controls[8]).text, "precision")};
    PlannedJob changed = planned;
    changed.devices = settings.devices;
    changed.cluster.inter_node.bandwidth = settings.inter_node_bandwidth;
    changed.cluster.intra_node.bandwidth = settings.intra_node_bandwidth;
    changed.cluster.device.memory = settings.device_memory;
    changed.job.global_batch_size = settings.global_batch_size;
    changed.job.seq_length = settings.seq_length;
    Constraints wanted = constraints;
    wanted.attention = {settings.attention};
    wanted.norm = {settings.norm};
    wanted.precision = {settings.precision};
    Errors faults;
    const SearchRequest asked = make_request(changed, wanted, faults);
    const Expected<SearchRequest> request = what_if_request(basis, settings);
    if (settings.attention == AttentionKernel::flash3 &&
        stored_as(settings.precision) == Precision::fp32) {
      // What plan refuses, the page counts as impossible, with the reason.
      ASSERT_TRUE(request);
      EXPECT_EQ(faults.size(), 1u);
      const SearchResult none = search(*request);
      EXPECT_EQ(none.invalid, none.considered);
      continue;
    }
    ASSERT_EQ(request.has_value(), faults.empty());
    if (!request) continue;
    EXPECT_EQ(request->space, asked.space);
    EXPECT_EQ(request->cluster, asked.cluster);
    EXPECT_EQ(request->profile, asked.profile);
    EXPECT_EQ(request->devices, asked.devices);
    EXPECT_EQ(request->job.seq_length, asked.job.seq_length);
    EXPECT_EQ(request->job.global_batch_size, asked.job.global_batch_size);
    EXPECT_EQ(request->objective, asked.objective);
    EXPECT_EQ(request->limit, asked.limit);
    EXPECT_EQ(request->max_memory_bytes, asked.max_memory_bytes);
    EXPECT_EQ(request->min_fits_probability, asked.min_fits_probability);
  }
}

TEST(Messages, EveryPhraseOfAnImpossibleLayoutIsTranslated) {
  std::vector<std::string_view> phrases = fault_phrases();
  EXPECT_GT(phrases.size(), 30u);
  phrases.push_back("too many micro-batches to simulate");
  for (const std::string_view phrase : phrases) {
    EXPECT_NE(translated(Language::japanese, phrase), phrase);
    EXPECT_EQ(translated(Language::english, phrase), phrase);
  }
}

}  // namespace
}  // namespace kumihimo
