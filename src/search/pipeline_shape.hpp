#pragma once

#include <vector>

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

/// The split that a space gives its layouts: the even one (empty), or `balanced`, the
/// framework's that deals embedding and head out as layers (framework_layer_split). Empty as well
/// where there are more stages than layers.
std::vector<int> layer_split_of_space(const ParallelLayout& layout, const TrainingJob& job,
                                      bool balanced);

}  // namespace kumihimo
