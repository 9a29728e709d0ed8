#include "search/constraints.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <set>

#include "layout/validate.hpp"

namespace kumihimo {
namespace {

/// Replaces the default values by the user's, where there are any.
template <class T>
void narrow(std::vector<T>& values, const std::vector<T>& wanted) {
  if (!wanted.empty()) values = wanted;
}

/// Schedules of the wanted kinds with the wanted numbers of virtual stages.
std::vector<ScheduleChoice> schedule_choices(const std::vector<ScheduleChoice>& defaults,
                                             const Constraints& constraints) {
  std::vector<ScheduleKind> kinds = constraints.schedules;
  if (kinds.empty()) {
    for (const ScheduleChoice& choice : defaults) {
      if (!std::ranges::count(kinds, choice.kind)) kinds.push_back(choice.kind);
    }
  }
  std::vector<int> stages = constraints.virtual_stages;
  if (stages.empty()) {
    for (const ScheduleChoice& choice : defaults) stages.push_back(choice.virtual_stages_per_rank);
    if (!std::ranges::count(stages, 1)) stages.push_back(1);
  }
  std::vector<ScheduleChoice> choices;
  for (const ScheduleKind kind : kinds) {
    for (const int count : stages) {
      if ((kind == ScheduleKind::interleaved) == (count > 1)) choices.push_back({kind, count});
    }
  }
  return choices;
}

/// Values of one flag that no layout can have are a mistake in it; but some of a list may be idle.
class ValueJudge {
 public:
  ValueJudge(const SearchRequest& request, Errors& faults) : request_(request), faults_(faults) {}

  /// `setting`: where faults() says that a layout is wrong by this knob alone.
  template <class Value>
  void judge(std::string_view flag, std::string_view setting, Value ParallelLayout::*knob,
             const std::vector<Value>& wanted) {
    Errors found;
    for (const Value& value : wanted) {
      for (const Precision precision : request_.space.precision) {
        ParallelLayout probe;
        probe.precision = precision;
        probe.*knob = value;
        const Errors all = kumihimo::faults(probe, request_.job, request_.cluster, probe.devices());
        const auto fault = std::ranges::find(all, setting, &Error::where);
        if (fault == all.end()) return;
        if (precision == request_.space.precision.front()) {
          found.push_back({std::string(flag), fault->what, fault->fix});
        }
      }
    }
    faults_.insert(faults_.end(), found.begin(), found.end());
  }

 private:
  const SearchRequest& request_;
  Errors& faults_;
};

/// dp x cp of the layouts in the space that make up the devices.
std::set<std::int64_t> replicas(const SearchSpace& space, std::int64_t devices) {
  std::set<std::int64_t> found;
  for (const int tp : space.tensor_parallel) {
    for (const int pp : space.pipeline_parallel) {
      for (const int cp : space.context_parallel) {
        const std::int64_t replica = std::int64_t{tp} * pp * cp;
        if (devices % replica != 0) continue;
        if (space.data_parallel.empty() ||
            std::ranges::count(space.data_parallel, devices / replica) > 0) {
          found.insert(devices / replica * cp);
        }
      }
    }
  }
  return found;
}

void judge_degrees(const SearchRequest& request, const Constraints& wanted, Errors& faults) {
  if (!replicas(request.space, request.devices).empty()) return;
  std::string flags;
  const auto name = [&flags](const char* flag, const std::vector<int>& values) {
    if (!values.empty()) flags += (flags.empty() ? "" : ", ") + std::string(flag);
  };
  name("--tp", wanted.tensor_parallel);
  name("--pp", wanted.pipeline_parallel);
  name("--cp", wanted.context_parallel);
  name("--dp", wanted.data_parallel);
  faults.push_back({flags, fmt::format("no tp x pp x cp x dp makes up {} devices", request.devices),
                    fmt::format("give divisors of {}", request.devices)});
}

/// A group that divides the ranks of no layout would leave those without ZeRO, which was not meant.
void judge_zero_group(const SearchRequest& request, const Constraints& wanted, Errors& faults) {
  const std::vector<int>& groups = wanted.zero_group;
  if (groups.empty() ||
      std::ranges::count(request.space.zero_stage, 0) == std::ssize(request.space.zero_stage))
    return;
  const std::set<std::int64_t> counts = replicas(request.space, request.devices);
  const auto suits = [&](int group) {
    return group <= 1 ||
           std::ranges::any_of(counts, [&](auto count) { return count % group == 0; });
  };
  if (std::ranges::any_of(groups, suits)) return;
  std::set<int> sizes;
  for (const std::int64_t count : counts) {
    for (const int size : divisors(count, max_degree)) sizes.insert(size);
  }
  sizes.erase(1);
  faults.push_back(
      {"--zero-group", fmt::format("{} divides dp x cp of no layout", fmt::join(groups, ", ")),
       sizes.empty()
           ? "give 0: every layout has dp x cp 1"
           : fmt::format("give one of {}, or 0 for all of dp x cp", fmt::join(sizes, ", "))});
}

}  // namespace

void constrain(SearchRequest& request, const Constraints& wanted, Errors& faults) {
  request.space = default_space(request.job, request.cluster, request.devices, request.profile);
  SearchSpace& space = request.space;
  narrow(space.tensor_parallel, wanted.tensor_parallel);
  narrow(space.pipeline_parallel, wanted.pipeline_parallel);
  narrow(space.context_parallel, wanted.context_parallel);
  narrow(space.data_parallel, wanted.data_parallel);
  for (const int data_parallel : wanted.data_parallel) {
    if (request.devices % data_parallel == 0) continue;
    faults.push_back({"--dp",
                      fmt::format("holds {}, which does not divide the {} devices", data_parallel,
                                  request.devices),
                      fmt::format("give divisors of {}", request.devices)});
  }
  narrow(space.micro_batch_size, wanted.micro_batch_size);
  space.schedules = schedule_choices(space.schedules, wanted);
  narrow(space.recompute, wanted.recompute);
  narrow(space.sequence_parallel, wanted.sequence_parallel);
  narrow(space.zero_stage, wanted.zero_stage);
  narrow(space.zero_group, wanted.zero_group);
  narrow(space.norm, wanted.norm);
  narrow(space.precision, wanted.precision);
  // A stack's 16-bit gradients and its kernels do not go with every precision.
  space.gradient_dtype.clear();
  space.attention.clear();
  for (const Precision precision : space.precision) {
    space.gradient_dtype.push_back(default_gradient_dtype(precision, request.profile.defaults));
    space.attention.push_back(default_attention(request.cluster.device, request.profile.defaults,
                                                precision, request.job.model.head_dim));
  }
  narrow(space.attention, wanted.attention);
  narrow(space.gradient_dtype, wanted.gradient_dtype);
  narrow(space.overlap_data_parallel, wanted.overlap_data_parallel);
  narrow(space.overlap_tensor_parallel, wanted.overlap_tensor_parallel);
  narrow(space.offload, wanted.offload);
  if (space.schedules.empty()) {
    faults.push_back({"--virtual-stages", "suits none of the schedules",
                      "more than 1 needs --schedule interleaved, which needs more than 1"});
  }

  request.max_memory_bytes = wanted.max_memory_bytes.value_or(request.max_memory_bytes);
  request.min_fits_probability = wanted.min_fits_probability.value_or(request.min_fits_probability);
  // By MFU, each precision's over its own peak, fp32 would lead before bf16: unasked, speed
  // decides.
  const Objective unasked = space.precision.size() > 1 ? Objective::step_time : request.objective;
  request.objective = wanted.objective.value_or(unasked);
  request.threads = wanted.threads.value_or(request.threads);
  if (request.objective == Objective::cost && !request.cluster.price_per_device_hour) {
    faults.push_back({"--price", "is missing: " + request.cluster.name + " states no price",
                      "--objective cost needs it, such as --price 2.10USD"});
  }
}

void judge_constraints(const SearchRequest& request, const Constraints& wanted, Errors& faults) {
  using L = ParallelLayout;
  ValueJudge judge(request, faults);
  judge.judge("--tp", "layout: tp", &L::tensor_parallel, wanted.tensor_parallel);
  judge.judge("--pp", "layout: pp", &L::pipeline_parallel, wanted.pipeline_parallel);
  judge.judge("--cp", "layout: cp", &L::context_parallel, wanted.context_parallel);
  judge.judge("--micro-batch-size", "layout: micro-batch", &L::micro_batch_size,
              wanted.micro_batch_size);
  judge.judge("--attention", "layout: attention", &L::attention, wanted.attention);
  judge.judge("--precision", "layout: precision", &L::precision, wanted.precision);
  if (request.space.precision.size() == 1) {
    judge.judge("--gradient-dtype", "layout: gradient-dtype", &L::gradient_dtype,
                wanted.gradient_dtype);
  }
  judge.judge("--offload", "layout: offload", &L::offload, wanted.offload);
  if (faults.empty()) judge_degrees(request, wanted, faults);
  if (faults.empty()) judge_zero_group(request, wanted, faults);
}

}  // namespace kumihimo
