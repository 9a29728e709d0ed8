#include "search/layout_index.hpp"

#include <algorithm>

#include "layout/canonical.hpp"
#include "layout/layer_split.hpp"

namespace kumihimo {
namespace {

template <class List>
void drop_repeats(List& values) {
  List kept;
  for (const auto value : values) {
    if (std::ranges::find(kept, value) == kept.end()) kept.push_back(value);
  }
  values = std::move(kept);
}

/// Takes the fastest digit off `index`.
template <class List>
std::size_t take(std::int64_t& index, const List& values) {
  const auto radix = static_cast<std::int64_t>(values.size());
  const std::int64_t digit = index % radix;
  index /= radix;
  return static_cast<std::size_t>(digit);
}

/// Whether another of `values` in place of `own` spells the same layout: the canonical value, or
/// one that stands earlier. `same_with(value)` tries it.
template <class List, class Value, class SameWith>
bool spelled_otherwise(const List& values, const Value& own, const Value& canonical_value,
                       SameWith same_with) {
  if (own == canonical_value) return false;
  bool earlier = true;
  for (const Value value : values) {
    if (value == own) {
      earlier = false;
    } else if ((earlier || value == canonical_value) && same_with(value)) {
      return true;
    }
  }
  return false;
}

}  // namespace

LayoutIndex::LayoutIndex(SearchSpace space, const TrainingJob& job, std::int64_t devices)
    : space_(std::move(space)), devices_(devices) {
  drop_repeats(space_.tensor_parallel);
  drop_repeats(space_.pipeline_parallel);
  drop_repeats(space_.context_parallel);
  drop_repeats(space_.micro_batch_size);
  drop_repeats(space_.schedules);
  drop_repeats(space_.recompute);
  drop_repeats(space_.sequence_parallel);
  drop_repeats(space_.zero_stage);
  drop_repeats(space_.zero_group);
  drop_repeats(space_.attention);
  drop_repeats(space_.norm);
  drop_repeats(space_.precision);
  drop_repeats(space_.gradient_dtype);
  drop_repeats(space_.overlap_data_parallel);
  drop_repeats(space_.overlap_tensor_parallel);
  drop_repeats(space_.offload);

  for (const int pipeline_parallel : space_.pipeline_parallel) {
    for (const ScheduleChoice& schedule : space_.schedules) {
      Pipeline& pipeline = pipelines_.emplace_back();
      ParallelLayout layout;
      layout.pipeline_parallel = pipeline_parallel;
      layout.schedule = schedule.kind;
      layout.virtual_stages_per_rank = schedule.virtual_stages_per_rank;
      layout = canonical(layout);
      const std::int64_t stages = std::int64_t{pipeline_parallel} * layout.virtual_stages_per_rank;
      pipeline.possible = stages <= job.model.layers;
      if (!pipeline.possible) continue;
      pipeline.layer_split = layer_split_of_space(layout, job, space_.layer_balance);
      layout.layer_split = pipeline.layer_split;
      pipeline.shape = pipeline_shape(stage_layers(layout, job), pipeline_parallel);
    }
  }
}

LayoutIndex::Entry LayoutIndex::at(std::int64_t index) const {
  Entry entry;
  ParallelLayout& layout = entry.layout;
  // Fastest first.
  layout.offload = space_.offload[take(index, space_.offload)];
  layout.overlap_data_parallel =
      space_.overlap_data_parallel[take(index, space_.overlap_data_parallel)];
  layout.gradient_dtype = space_.gradient_dtype[take(index, space_.gradient_dtype)];
  layout.zero_group = space_.zero_group[take(index, space_.zero_group)];
  layout.zero_stage = space_.zero_stage[take(index, space_.zero_stage)];
  const std::size_t schedule = take(index, space_.schedules);
  const std::size_t depth = take(index, space_.pipeline_parallel);

  layout.micro_batch_size = space_.micro_batch_size[take(index, space_.micro_batch_size)];
  layout.tensor_parallel = space_.tensor_parallel[take(index, space_.tensor_parallel)];
  layout.context_parallel = space_.context_parallel[take(index, space_.context_parallel)];
  layout.sequence_parallel = space_.sequence_parallel[take(index, space_.sequence_parallel)];
  layout.recompute = space_.recompute[take(index, space_.recompute)];
  layout.overlap_tensor_parallel =
      space_.overlap_tensor_parallel[take(index, space_.overlap_tensor_parallel)];
  layout.norm = space_.norm[take(index, space_.norm)];
  layout.attention = space_.attention[take(index, space_.attention)];
  layout.precision = space_.precision[take(index, space_.precision)];

  layout.schedule = space_.schedules[schedule].kind;
  layout.virtual_stages_per_rank = space_.schedules[schedule].virtual_stages_per_rank;
  layout.pipeline_parallel = space_.pipeline_parallel[depth];
  // request_faults bounds each degree, so that three of them fit 64 bits.
  const std::int64_t replica =
      std::int64_t{layout.tensor_parallel} * layout.pipeline_parallel * layout.context_parallel;
  const std::int64_t replicas = devices_ % replica == 0 ? devices_ / replica : 1;
  layout.data_parallel = static_cast<int>(std::min<std::int64_t>(replicas, 1 << 30));
  entry.wanted = space_.data_parallel.empty() ||
                 std::ranges::any_of(space_.data_parallel, [&](int data_parallel) {
                   return replica * data_parallel == devices_;
                 });

  const Pipeline& pipeline = pipelines_[depth * space_.schedules.size() + schedule];
  layout.layer_split = pipeline.layer_split;
  if (pipeline.possible) entry.shape = &pipeline.shape;
  return entry;
}

bool LayoutIndex::is_twin(const ParallelLayout& layout,
                          const ParallelLayout& canonical_layout) const {
  if (layout == canonical_layout) return false;
  const auto twin_in = [&](const auto& values, auto ParallelLayout::*knob) {
    return spelled_otherwise(values, layout.*knob, canonical_layout.*knob, [&](auto value) {
      ParallelLayout other = layout;
      other.*knob = value;
      return canonical(other) == canonical_layout;
    });
  };
  const ScheduleChoice own{layout.schedule, layout.virtual_stages_per_rank};
  const ScheduleChoice usual{canonical_layout.schedule, canonical_layout.virtual_stages_per_rank};
  const auto same_with_schedule = [&](const ScheduleChoice& choice) {
    ParallelLayout other = layout;
    other.schedule = choice.kind;
    other.virtual_stages_per_rank = choice.virtual_stages_per_rank;
    return canonical(other) == canonical_layout;
  };
  return spelled_otherwise(space_.schedules, own, usual, same_with_schedule) ||
         twin_in(space_.sequence_parallel, &ParallelLayout::sequence_parallel) ||
         twin_in(space_.overlap_tensor_parallel, &ParallelLayout::overlap_tensor_parallel) ||
         twin_in(space_.overlap_data_parallel, &ParallelLayout::overlap_data_parallel) ||
         twin_in(space_.zero_stage, &ParallelLayout::zero_stage) ||
         twin_in(space_.zero_group, &ParallelLayout::zero_group);
}

}  // namespace kumihimo
