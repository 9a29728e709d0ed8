#pragma once

#include "search/pipeline_shape.hpp"
#include "simulator/predict.hpp"

namespace kumihimo {

/// What can be said of a layout without playing its schedule.
struct LayoutEstimate {
  double least_step_s = 0;        ///< a lower bound of predict()'s step_s
  MemoryUse fullest;              ///< exactly what predict() gives for its fullest rank
  double host_bytes_of_node = 0;  ///< exactly what predict() gives
};

/// Requires a valid, canonical layout; `shape` is that of its layers, `pieces` piece_costs().
LayoutEstimate estimate(const PieceCosts& pieces, const PipelineShape& shape,
                        const TrainingJob& job, const ParallelLayout& layout,
                        const Cluster& cluster, const StackProfile& profile);

/// A lower bound of simulate()'s step_s. `step` is the cost of the shorter pipeline that has one
/// rank for each of `segments` of `layout`'s pipeline.
double least_step_seconds(const StepCost& step, const std::vector<RankSegment>& segments,
                          const ParallelLayout& layout);

}  // namespace kumihimo
