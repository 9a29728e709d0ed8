// One pass for all sets of options gives what a search for each set gives.

#include <gtest/gtest.h>

#include "advise/option_values.hpp"
#include "layout/layout_text.hpp"
#include "search/pipeline_shape.hpp"
#include "search_cases.hpp"

namespace kumihimo {
namespace {

using testing::SearchCases;

/// The search of one set of options, told knob by knob: the current value, and what the set opens.
double best_step_s(const AdviceRequest& request, OptionSet taken) {
  SearchRequest searched{.job = request.job,
                         .cluster = request.cluster,
                         .profile = request.profile,
                         .devices = request.devices,
                         .objective = Objective::step_time,
                         .limit = 1,
                         .threads = 1};
  const SearchSpace defaults =
      default_space(request.job, request.cluster, request.devices, request.profile);
  SearchSpace& space = searched.space;
  const ParallelLayout& own = request.current;
  space.tensor_parallel = {own.tensor_parallel};
  space.pipeline_parallel = {own.pipeline_parallel};
  space.context_parallel = {own.context_parallel};
  space.micro_batch_size = {own.micro_batch_size};
  space.schedules = {{own.schedule, own.virtual_stages_per_rank}};
  space.recompute = {own.recompute};
  space.sequence_parallel = {own.sequence_parallel};
  space.zero_stage = {own.zero_stage};
  space.zero_group = {own.zero_group};
  space.attention = {own.attention};
  space.norm = {own.norm};
  space.precision = {own.precision};
  space.gradient_dtype = {own.gradient_dtype};
  space.overlap_data_parallel = {own.overlap_data_parallel};
  space.overlap_tensor_parallel = {own.overlap_tensor_parallel};
  space.offload = {own.offload};
  space.layer_balance = request.profile.defaults.layer_balance;
  for (std::size_t i = 0; i < request.options.size(); ++i) {
    if ((taken >> i & 1) == 0) continue;
    for (const Opening& opening : request.options[i].opens) {
      switch (opening.knob) {
        case OpenedKnob::split:
          for (const int tp : defaults.tensor_parallel) space.tensor_parallel.push_back(tp);
          for (const int pp : defaults.pipeline_parallel) space.pipeline_parallel.push_back(pp);
          for (const int cp : defaults.context_parallel) space.context_parallel.push_back(cp);
          break;
        case OpenedKnob::micro_batch:
          for (const int mb : defaults.micro_batch_size) space.micro_batch_size.push_back(mb);
          break;
        case OpenedKnob::schedule:
          for (const ScheduleChoice& s : defaults.schedules) space.schedules.push_back(s);
          break;
        case OpenedKnob::recompute:
          space.recompute = {Recompute::none, Recompute::selective, Recompute::full};
          break;
        case OpenedKnob::sequence_parallel: space.sequence_parallel = {false, true}; break;
        case OpenedKnob::zero:
          for (const int stage : defaults.zero_stage) space.zero_stage.push_back(stage);
          break;
        case OpenedKnob::attention: space.attention.push_back(opening.value->attention); break;
        case OpenedKnob::norm: space.norm.push_back(opening.value->norm); break;
        default: ADD_FAILURE() << "not opened in this test";
      }
    }
  }
  const SearchResult result = search(searched);
  return result.best.empty() ? std::numeric_limits<double>::infinity()
                             : result.best.front().prediction.step_s;
}

UpgradeOption opens(const char* name, OpenedKnob knob, const char* value = nullptr) {
  UpgradeOption option{.name = name};
  option.opens.push_back({knob, std::nullopt});
  if (value != nullptr) option.opens[0].value = *parse_layout(value);
  return option;
}

TEST(AdviseSubsets, EverySetGainsWhatItsOwnSearchFinds) {
  SearchCases cases(20231009);
  int compared = 0;
  for (int repeat = 0; repeat < 60; ++repeat) {
    const SearchRequest random = cases.request();
    AdviceRequest request;
    request.job = random.job;
    request.cluster = random.cluster;
    request.profile = random.profile;
    request.devices = random.devices;
    request.threads = 1;
    SearchRequest own = random;
    own.space.offload = {Offload{}};
    own.space.zero_group = {0};
    own.space.schedules = {{}};
    request.current = cases.layout(own);
    request.current.attention = AttentionKernel::flash1;
    // Knobs that a layout without replicas, or without a tensor group, leaves without effect.
    if (repeat % 4 == 0) request.current.zero_stage = 1;
    if (repeat % 5 == 0) request.current.overlap_data_parallel = false;
    request.current.layer_split =
        layer_split_of_space(request.current, request.job, request.profile.defaults.layer_balance);
    if (!is_valid(request.current, request.job, request.cluster, request.devices)) continue;
    request.options = {opens("split", OpenedKnob::split),
                       opens("mb", OpenedKnob::micro_batch),
                       opens("recompute", OpenedKnob::recompute),
                       opens("sp", OpenedKnob::sequence_parallel),
                       opens("zero", OpenedKnob::zero),
                       opens("flash2", OpenedKnob::attention, "attention=flash2")};
    if (repeat % 3 == 0) request.options[3] = opens("schedule", OpenedKnob::schedule);
    const OptionValues values(request, true);
    const double start = values.at(0).ranked.prediction.step_s;
    for (OptionSet set = 0; set < 1U << request.options.size(); ++set) {
      const double expected = std::min(start, best_step_s(request, set));
      ASSERT_DOUBLE_EQ(values.score(set), expected)
          << "set " << set << " of case " << repeat << ": " << to_text(request.current);
      ++compared;
    }
  }
  EXPECT_GT(compared, 1000);
}

}  // namespace
}  // namespace kumihimo
