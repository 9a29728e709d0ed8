#include "search/pipeline_shape.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "layout/layer_split.hpp"

namespace kumihimo {
namespace {

template <class StartsSegment>
PipelineShape make_shape(const std::vector<int>& layers, int pipeline_parallel,
                         StartsSegment starts_segment) {
  KUMIHIMO_CHECK(pipeline_parallel >= 1 && !layers.empty() &&
                 layers.size() % pipeline_parallel == 0);
  PipelineShape shape;
  for (int rank = 0; rank < pipeline_parallel; ++rank) {
    if (shape.segments.empty() || starts_segment(rank)) {
      shape.segments.push_back({rank, rank});
    } else {
      shape.segments.back().last = rank;
    }
  }
  for (std::size_t chunk = 0; chunk < layers.size(); chunk += pipeline_parallel) {
    for (const RankSegment& segment : shape.segments) {
      shape.layers.push_back(layers[chunk + segment.first]);
    }
  }
  return shape;
}

}  // namespace

PipelineShape pipeline_shape(const std::vector<int>& layers, int pipeline_parallel) {
  return make_shape(layers, pipeline_parallel, [&](int rank) {
    if (rank <= 1 || rank == pipeline_parallel - 1) return true;
    for (std::size_t stage = rank; stage < layers.size(); stage += pipeline_parallel) {
      if (layers[stage] != layers[stage - 1]) return true;
    }
    return false;
  });
}

PipelineShape whole_pipeline(const std::vector<int>& layers, int pipeline_parallel) {
  return make_shape(layers, pipeline_parallel, [](int) { return true; });
}

std::vector<int> layer_split_of_space(const ParallelLayout& layout, const TrainingJob& job,
                                      LayerBalance balance) {
  const std::int64_t stages =
      std::int64_t{layout.pipeline_parallel} * layout.virtual_stages_per_rank;
  if (layout.pipeline_parallel == 1 || stages > job.model.layers) return {};
  std::vector<int> split = default_layer_split(balance, job.model, static_cast<int>(stages));
  if (split == even_layer_split(job.model.layers, static_cast<int>(stages))) split.clear();
  return split;
}

}  // namespace kumihimo
