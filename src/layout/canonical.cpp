#include "layout/canonical.hpp"

#include <algorithm>
#include <numeric>

#include "layout/layer_split.hpp"

namespace kumihimo {
namespace {

bool is_even(const std::vector<int>& split) {
  if (std::ranges::any_of(split, [](int count) { return count < 0; })) return false;
  const std::int64_t layers = std::accumulate(split.begin(), split.end(), std::int64_t{0});
  if (layers >= std::numeric_limits<int>::max()) return false;
  return split == even_layer_split(layers, static_cast<int>(split.size()));
}

}  // namespace

ParallelLayout canonical(ParallelLayout layout) {
  const ParallelLayout defaults;
  const std::int64_t replicas = std::int64_t{layout.data_parallel} * layout.context_parallel;

  if (layout.tensor_parallel == 1) {
    layout.sequence_parallel = defaults.sequence_parallel;
    layout.overlap_tensor_parallel = defaults.overlap_tensor_parallel;
  }

  if (layout.pipeline_parallel == 1) {
    // All stages are on one rank, one after the other: they are one stage.
    layout.virtual_stages_per_rank = 1;
    layout.layer_split.clear();
  }
  if (layout.schedule != ScheduleKind::interleaved) layout.virtual_stages_per_rank = 1;
  if (layout.pipeline_parallel == 1 ||
      (layout.schedule == ScheduleKind::interleaved && layout.virtual_stages_per_rank == 1)) {
    layout.schedule = defaults.schedule;
  }
  if (!layout.layer_split.empty() && is_even(layout.layer_split)) layout.layer_split.clear();

  if (replicas == 1) layout.overlap_data_parallel = defaults.overlap_data_parallel;
  if (replicas == 1 || layout.zero_group == 1) layout.zero_stage = 0;
  if (layout.zero_stage == 0 || layout.zero_group == replicas) layout.zero_group = 0;

  return layout;
}

}  // namespace kumihimo
