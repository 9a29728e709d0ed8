#pragma once

#include <vector>

#include "layout/framework_defaults.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// Ranks first..last of a pipeline, alike in the layers of each of their chunks.
struct RankSegment {
  int first = 0;
  int last = 0;

  int ranks() const { return last - first + 1; }
  bool operator==(const RankSegment&) const = default;
};

/// A pipeline as its different kinds of ranks: the first, the last, and between them segments of
/// ranks that are alike. However long the pipeline, an even split gives a handful of segments.
struct PipelineShape {
  std::vector<RankSegment> segments;
  /// Layers of each virtual stage of the shorter pipeline that has one rank for each segment.
  std::vector<int> layers;
};

/// `layers`: of each virtual stage. Requires as many as a multiple of pipeline_parallel.
PipelineShape pipeline_shape(const std::vector<int>& layers, int pipeline_parallel);

/// The same, but every rank is a segment.
PipelineShape whole_pipeline(const std::vector<int>& layers, int pipeline_parallel);

/// The split that a space gives its layouts: its framework's (default_layer_split), or nothing
/// where that is the even one, and where there are more stages than layers.
std::vector<int> layer_split_of_space(const ParallelLayout& layout, const TrainingJob& job,
                                      LayerBalance balance);

}  // namespace kumihimo
