#include "advise/upgrade_option.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace kumihimo {
namespace {

template <auto member>
bool same_member(const ParallelLayout& a, const ParallelLayout& b) {
  return a.*member == b.*member;
}

template <auto member>
void copy_member(const ParallelLayout& from, ParallelLayout& to) {
  to.*member = from.*member;
}

template <auto member>
KnobRule rule(OpenedKnob knob, std::string_view key) {
  return {knob, key, same_member<member>, copy_member<member>};
}

bool same_split(const ParallelLayout& a, const ParallelLayout& b) {
  return a.tensor_parallel == b.tensor_parallel && a.pipeline_parallel == b.pipeline_parallel &&
         a.context_parallel == b.context_parallel;
}

void copy_split(const ParallelLayout& from, ParallelLayout& to) {
  to.tensor_parallel = from.tensor_parallel;
  to.pipeline_parallel = from.pipeline_parallel;
  to.context_parallel = from.context_parallel;
  to.data_parallel = from.data_parallel;
  to.layer_split = from.layer_split;
}

bool same_schedule(const ParallelLayout& a, const ParallelLayout& b) {
  return a.schedule == b.schedule && a.virtual_stages_per_rank == b.virtual_stages_per_rank;
}

void copy_schedule(const ParallelLayout& from, ParallelLayout& to) {
  to.schedule = from.schedule;
  to.virtual_stages_per_rank = from.virtual_stages_per_rank;
}

}  // namespace

const std::vector<KnobRule>& knob_rules() {
  using L = ParallelLayout;
  static const std::vector<KnobRule> rules{
      {OpenedKnob::split, "split", same_split, copy_split},
      rule<&L::micro_batch_size>(OpenedKnob::micro_batch, "micro-batch"),
      {OpenedKnob::schedule, "schedule", same_schedule, copy_schedule},
      rule<&L::recompute>(OpenedKnob::recompute, "recompute"),
      rule<&L::sequence_parallel>(OpenedKnob::sequence_parallel, "sp"),
      rule<&L::zero_stage>(OpenedKnob::zero, "zero"),
      rule<&L::attention>(OpenedKnob::attention, "attention"),
      rule<&L::norm>(OpenedKnob::norm, "norm"),
      rule<&L::precision>(OpenedKnob::precision, "precision"),
      rule<&L::overlap_data_parallel>(OpenedKnob::overlap_data_parallel, "overlap-dp"),
      rule<&L::overlap_tensor_parallel>(OpenedKnob::overlap_tensor_parallel, "overlap-tp"),
      rule<&L::offload>(OpenedKnob::offload, "offload"),
  };
  return rules;
}

const KnobRule& rule_of(OpenedKnob knob) {
  const KnobRule& rule = knob_rules().at(static_cast<std::size_t>(knob));
  KUMIHIMO_CHECK(rule.knob == knob);
  return rule;
}

OptionKind UpgradeOption::kind() const {
  if (hardware.any()) return OptionKind::hardware;
  const bool installs = std::ranges::any_of(opens, [](const Opening& opening) {
    return opening.knob == OpenedKnob::attention || opening.knob == OpenedKnob::norm ||
           opening.knob == OpenedKnob::precision;
  });
  return installs ? OptionKind::software : OptionKind::knob;
}

bool opens_fp8(const UpgradeOption& option) {
  return std::ranges::any_of(option.opens, [](const Opening& opening) {
    return opening.knob == OpenedKnob::precision && opening.value &&
           opening.value->precision == Precision::fp8;
  });
}

double cost_of(const UpgradeOption& option, const Prices& prices) {
  const auto amount = [](const std::optional<Money>& money) { return money ? money->amount : 0; };
  return amount(option.purchase) + option.engineer_days * amount(prices.engineer_day) +
         option.effort * amount(prices.effort_point);
}

bool UpgradeOption::states_price() const {
  return purchase || hardware.price_per_device_hour ||
         (hardware.cluster && hardware.cluster->price_per_device_hour);
}

bool Upgrades::states_costs() const {
  return std::ranges::any_of(
      options, [&](const UpgradeOption& option) { return cost_of(option, prices) > 0; });
}

}  // namespace kumihimo
