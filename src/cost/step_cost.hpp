#pragma once

#include <vector>

#include "cluster/cluster.hpp"
#include "cost/layer_time.hpp"
#include "cost/memory.hpp"
#include "cost/stack_profile.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// Costs that depend on tensor and context parallelism, micro-batch and kernels alone: shared by
/// all layouts that differ in pipeline, data parallelism, schedule or ZeRO, so search makes them
/// once.
struct PieceCosts {
  PieceCost layer;
  PieceCost embedding;
  PieceCost head;
  double boundary_bytes = 0;
};

PieceCosts piece_costs(const TrainingJob& job, const ParallelLayout& layout, const Cluster& cluster,
                       const StackProfile& profile);

/// One virtual stage (a chunk of consecutive layers) for one micro-batch.
struct ChunkCost {
  PassTime forward;
  PassTime backward_input;
  PassTime backward_weight;
  double message_s = 0;   ///< to send its output, or the gradient of its output, to the neighbour
  double kept_bytes = 0;  ///< per micro-batch in flight
  double layer_kept_bytes = 0;  ///< of these, one layer's
  double pending_bytes = 0;     ///< per micro-batch whose weight pass waits (split backward)
  double working_bytes = 0;

  double forward_s = 0, backward_input_s = 0, backward_weight_s = 0;  ///< totals of the above
};

/// What a pipeline rank does once per step, after its last backward, and holds throughout.
struct RankCost {
  double reduce_s = 0;         ///< gradient reduction, exposed
  double reduce_hidden_s = 0;  ///< behind the last backward
  double optimizer_s = 0;
  double gather_s = 0;         ///< ZeRO-1 and 2: updated weights, exposed
  double gather_hidden_s = 0;  ///< behind the next step's first forward passes
  MemoryUse states;            ///< everything but what micro-batches keep
};

/// A training step as the simulator plays it.
struct StepCost {
  std::vector<ChunkCost> chunks;  ///< by virtual stage
  std::vector<RankCost> ranks;    ///< by pipeline rank
  double fixed_s = 0;
  std::int64_t num_micro_batches = 1;
};

/// `devices`: of the job. They are layout.devices(), except where the layout's pipeline stands for
/// a longer one.
StepCost step_cost(const PieceCosts& pieces, const TrainingJob& job, const ParallelLayout& layout,
                   const Cluster& cluster, const StackProfile& profile, std::int64_t devices);

inline StepCost step_cost(const PieceCosts& pieces, const TrainingJob& job,
                          const ParallelLayout& layout, const Cluster& cluster,
                          const StackProfile& profile) {
  return step_cost(pieces, job, layout, cluster, profile, layout.devices());
}

}  // namespace kumihimo
