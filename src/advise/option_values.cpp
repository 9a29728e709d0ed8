// Every set of options at once. Options that open values of knobs share one space of layouts: each
// layout needs the options that open the values in which it differs from the current one, and
// best_by_needs finds the fastest for every set in one pass. Options that change the machine need a
// pass each, and one for each combination of them. 2^12 searches become about a dozen.
#include "advise/option_values.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <limits>

#include "advise/currency.hpp"
#include "advise/machines.hpp"
#include "layout/canonical.hpp"
#include "layout/layout_text.hpp"
#include "layout/validate.hpp"
#include "search/pipeline_shape.hpp"

namespace kumihimo {
namespace {

/// What opens a value: bits of options, or of the hidden need to choose the layout anew.
struct Opener {
  Opening opening;
  int need = 0;
};

/// Tells what a layout needs.
class NeedsReader {
 public:
  NeedsReader(const ParallelLayout& current, std::vector<Opener> openers, bool custom_split)
      : current_(current), openers_(std::move(openers)), custom_split_(custom_split) {}

  std::optional<Needs> operator()(const ParallelLayout& layout) const {
    Needs needs = 0;
    for (const KnobRule& rule : knob_rules()) {
      if (keeps(rule, layout)) continue;
      const int need = need_of(rule, layout);
      if (need < 0) return std::nullopt;
      needs |= Needs{1} << need;
    }
    return needs;
  }

 private:
  /// Whether the knob stands as it did, or makes no difference to this layout.
  bool keeps(const KnobRule& rule, const ParallelLayout& layout) const {
    if (rule.knob == OpenedKnob::split && custom_split_ &&
        layout.virtual_stages() == current_.virtual_stages()) {
      return rule.same(layout, current_) && layout.layer_split == current_.layer_split;
    }
    if (rule.same(layout, current_)) return true;
    if (rule.knob == OpenedKnob::split) return false;
    ParallelLayout kept = layout;
    rule.copy(current_, kept);
    return canonical(kept) == layout;
  }

  int need_of(const KnobRule& rule, const ParallelLayout& layout) const {
    int any = -1;
    for (const Opener& opener : openers_) {
      if (opener.opening.knob != rule.knob) continue;
      if (!opener.opening.value) {
        any = opener.need;
      } else if (rule.same(layout, *opener.opening.value) ||
                 (rule.knob == OpenedKnob::schedule &&
                  layout.schedule == opener.opening.value->schedule)) {
        return opener.need;
      }
    }
    return any;
  }

  const ParallelLayout current_;
  const std::vector<Opener> openers_;
  const bool custom_split_;
};

template <class T>
void add_value(std::vector<T>& values, const T& value) {
  if (std::ranges::find(values, value) == values.end()) values.push_back(value);
}

/// The current value of a list first, then those that are opened.
template <class T>
void open_list(std::vector<T>& list, const T& current, const std::vector<Opener>& openers,
               OpenedKnob knob, const std::vector<T>& all, T ParallelLayout::*member) {
  list = {current};
  for (const Opener& opener : openers) {
    if (opener.opening.knob != knob) continue;
    if (opener.opening.value) {
      add_value(list, (*opener.opening.value).*member);
    } else {
      for (const T& value : all) add_value(list, value);
    }
  }
}

template <class T>
std::vector<T> either(const std::vector<T>& wanted, const std::vector<T>& defaults) {
  return wanted.empty() ? defaults : wanted;
}

std::vector<int> smaller_first(std::vector<int> values) {
  std::ranges::sort(values);
  return values;
}

/// Everything that some option opens on this machine.
SearchSpace open_space(const AdviceRequest& request, const Machine& machine,
                       const std::vector<Opener>& openers) {
  const ParallelLayout& current = request.current;
  const SearchSpace defaults =
      default_space(request.job, machine.cluster, machine.devices, machine.profile);
  SearchSpace space;
  // Split and micro-batch are always there: gains with the layout chosen anew need them.
  space.tensor_parallel = either(request.tensor_parallel, defaults.tensor_parallel);
  space.pipeline_parallel = either(request.pipeline_parallel, defaults.pipeline_parallel);
  space.context_parallel = either(request.context_parallel, defaults.context_parallel);
  add_value(space.tensor_parallel, current.tensor_parallel);
  add_value(space.pipeline_parallel, current.pipeline_parallel);
  add_value(space.context_parallel, current.context_parallel);
  space.tensor_parallel = smaller_first(space.tensor_parallel);
  space.pipeline_parallel = smaller_first(space.pipeline_parallel);
  space.context_parallel = smaller_first(space.context_parallel);
  space.micro_batch_size = either(request.micro_batch_size, defaults.micro_batch_size);
  add_value(space.micro_batch_size, current.micro_batch_size);
  space.micro_batch_size = smaller_first(space.micro_batch_size);

  const ScheduleChoice own{current.schedule, current.virtual_stages_per_rank};
  space.schedules = {own};
  for (const Opener& opener : openers) {
    if (opener.opening.knob != OpenedKnob::schedule) continue;
    for (const ScheduleChoice& choice : defaults.schedules) {
      if (!opener.opening.value || choice.kind == opener.opening.value->schedule) {
        add_value(space.schedules, choice);
      }
    }
    if (opener.opening.value && opener.opening.value->schedule != ScheduleKind::interleaved) {
      add_value(space.schedules, ScheduleChoice{opener.opening.value->schedule, 1});
    }
  }
  using L = ParallelLayout;
  const auto open = [&](auto& list, OpenedKnob knob, const auto& all, auto member) {
    open_list(list, current.*member, openers, knob, all, member);
  };
  open(space.recompute, OpenedKnob::recompute, defaults.recompute, &L::recompute);
  open(space.sequence_parallel, OpenedKnob::sequence_parallel, defaults.sequence_parallel,
       &L::sequence_parallel);
  open(space.zero_stage, OpenedKnob::zero, defaults.zero_stage, &L::zero_stage);
  open(space.attention, OpenedKnob::attention, defaults.attention, &L::attention);
  open(space.norm, OpenedKnob::norm, defaults.norm, &L::norm);
  open(space.precision, OpenedKnob::precision, defaults.precision, &L::precision);
  open(space.overlap_data_parallel, OpenedKnob::overlap_data_parallel,
       std::vector<bool>{true, false}, &L::overlap_data_parallel);
  open(space.overlap_tensor_parallel, OpenedKnob::overlap_tensor_parallel,
       std::vector<bool>{false, true}, &L::overlap_tensor_parallel);
  open(space.offload, OpenedKnob::offload,
       std::vector<Offload>{{}, {.optimizer = true}, {.activations = true}}, &L::offload);
  space.zero_group = {current.zero_group};
  space.gradient_dtype = {current.gradient_dtype};
  space.layer_balance = request.profile.defaults.layer_balance;
  return space;
}

SearchRequest search_request(const AdviceRequest& request, const Machine& machine) {
  return {.job = request.job,
          .cluster = machine.cluster,
          .profile = machine.profile,
          .devices = machine.devices,
          .objective = Objective::step_time,
          .limit = 1,
          .min_fits_probability = request.min_fits_probability,
          .threads = request.threads};
}

bool has_custom_split(const AdviceRequest& request) {
  const ParallelLayout own = canonical(request.current);
  ParallelLayout usual = own;
  usual.layer_split =
      layer_split_of_space(usual, request.job, request.profile.defaults.layer_balance);
  return canonical(usual) != own;
}

double weight(const AdviceRequest& request, const Machine& machine) {
  return request.goal == AdviceGoal::speed ? 1 : *step_cost_of(machine, 1);
}

}  // namespace

Errors request_faults(const AdviceRequest& request) {
  Errors errors = faults(request.current, request.job, request.cluster, request.devices);
  int needs = 2;
  for (const UpgradeOption& option : request.options) needs += option.opens.empty() ? 0 : 1;
  if (needs > most_needs) {
    errors.push_back({"options", fmt::format("open knobs {} times", needs - 2),
                      fmt::format("keep {} or fewer; leave_out drops some", most_needs - 2)});
  }
  for (const Error& error : currency_faults(request)) errors.push_back(error);
  if (request.goal == AdviceGoal::cost) {
    for (const Machine& machine : machines_of(request, false)) {
      if (machine.price_per_device_hour) continue;
      errors.push_back({"price_per_device_hour", "is missing for " + machine.cluster.name,
                        "least cost needs it: state it in the file of options, or --price"});
      break;
    }
  }
  return errors;
}

OptionValues::OptionValues(const AdviceRequest& request, bool combined_machines)
    : request_(request), machines_(machines_of(request, combined_machines)) {
  std::vector<Opener> openers;
  int things = 0;
  bool split_opened = false, micro_batch_opened = false;
  for (const UpgradeOption& option : request.options) {
    OptionSet required = 0;
    for (std::size_t i = 0; i < request.options.size(); ++i) {
      if (std::ranges::count(option.requires_options, request.options[i].name) > 0) {
        required |= OptionSet{1} << i;
      }
    }
    required_.push_back(required);
    need_of_option_.push_back(option.opens.empty() ? -1 : things);
    for (const Opening& opening : option.opens) {
      openers.push_back({opening, things});
      const bool is_split = opening.knob == OpenedKnob::split;
      const bool is_micro_batch = opening.knob == OpenedKnob::micro_batch && !opening.value;
      if (is_split || is_micro_batch) relayout_needs_ |= Needs{1} << things;
      split_opened = split_opened || is_split;
      micro_batch_opened = micro_batch_opened || is_micro_batch;
    }
    if (!option.opens.empty()) ++things;
  }
  const auto add_hidden = [&](OpenedKnob knob) {
    openers.push_back({{knob, std::nullopt}, things});
    relayout_needs_ |= Needs{1} << things;
    ++things;
  };
  if (!split_opened) add_hidden(OpenedKnob::split);
  if (!micro_batch_opened) add_hidden(OpenedKnob::micro_batch);

  const ParallelLayout current = canonical(request.current);
  start_ = {current, predict(request.job, current, request.cluster, request.profile)};
  start_score_ = start_.prediction.step_s * weight(request, machines_.front());
  start_fits_ = fits(start_.prediction, search_request(request, machines_.front()));

  // Knobs as they are set: what has no effect today, as ZeRO without replicas, is open all the
  // same.
  ParallelLayout as_set = request.current;
  as_set.layer_split = current.layer_split;
  const NeedsReader needs_of(as_set, openers, has_custom_split(request));
  for (const Machine& machine : machines_) {
    SearchRequest searched = search_request(request, machine);
    searched.space = open_space(request, machine, openers);
    if (!request.data_parallel.empty() && machine.devices == request.devices) {
      searched.space.data_parallel = request.data_parallel;
      add_value(searched.space.data_parallel, current.data_parallel);
    }
    best_.push_back(best_by_needs(searched, things, needs_of));
  }
}

Needs OptionValues::needs_of_options(OptionSet taken, bool relayout) const {
  Needs needs = relayout ? relayout_needs_ : 0;
  for (std::size_t i = 0; i < need_of_option_.size(); ++i) {
    if ((taken >> i & 1) != 0 && need_of_option_[i] >= 0) needs |= Needs{1} << need_of_option_[i];
  }
  return needs;
}

/// The options of the set whose requirements it holds, theirs in turn included.
OptionSet OptionValues::effective(OptionSet taken) const {
  for (;;) {
    OptionSet kept = taken;
    for (std::size_t i = 0; i < required_.size(); ++i) {
      if ((required_[i] & ~taken) != 0) kept &= ~(OptionSet{1} << i);
    }
    if (kept == taken) return taken;
    taken = kept;
  }
}

OptionValues::Best OptionValues::best(OptionSet taken, bool relayout) const {
  taken = effective(taken);
  Best result{0, &start_, start_score_};
  const Needs has = needs_of_options(taken, relayout);
  for (std::size_t i = 0; i < machines_.size(); ++i) {
    if ((machines_[i].options & ~taken) != 0) continue;
    const RankedLayout* ranked = best_[i].at(has);
    if (ranked == nullptr) continue;
    const double score = ranked->prediction.step_s * weight(request_, machines_[i]);
    if (score < result.score) result = {i, ranked, score};
  }
  return result;
}

Outcome OptionValues::at(OptionSet taken, bool relayout) const {
  const Best found = best(taken, relayout);
  return {found.machine, *found.ranked, found.score};
}

double OptionValues::score(OptionSet taken, bool relayout) const {
  return best(taken, relayout).score;
}

}  // namespace kumihimo
