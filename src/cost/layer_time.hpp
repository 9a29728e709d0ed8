#pragma once

#include <vector>

#include "cluster/cluster.hpp"
#include "cluster/topology.hpp"
#include "cost/stack_profile.hpp"
#include "model/operations.hpp"

namespace kumihimo {

/// Seconds of one pass through some operations, by what they are spent on. The categories add up
/// to the pass; `hidden` communication runs beside them.
struct PassTime {
  double matmul = 0;
  double attention = 0;
  double norm = 0;
  double elementwise = 0;
  double tensor_comm = 0;    ///< exposed
  double context_comm = 0;   ///< exposed
  double pipeline_comm = 0;  ///< sends and receives that hold up their rank
  double data_comm = 0;      ///< exposed (ZeRO-3 gathers)
  double host_link = 0;      ///< exposed copies of offloaded activations and weights
  double host = 0;           ///< the device waits for launches
  double hidden = 0;         ///< communication behind compute; not part of the total
  double launches = 0;     ///< host time that its launches take; `host` is what exceeds the device
  double tensor_hops = 0;  ///< ring steps of tensor-parallel collectives: a count

  double compute() const { return matmul + attention + norm + elementwise; }
  double total() const {
    return compute() + tensor_comm + context_comm + pipeline_comm + data_comm + host_link + host;
  }

  PassTime& operator+=(const PassTime& other);
  PassTime scaled(double factor) const;
};

/// Sets `host` for launches that take `launches` seconds. Launches run ahead of the device: what
/// they cost is the amount by which the longer of the two exceeds the device's time, with a soft
/// corner because layers are not all alike.
void expose_launches(double launches, PassTime& pass);

/// The three passes through a piece of the model (a layer, the embedding, the head), and what one
/// micro-batch leaves in memory.
struct PieceCost {
  PassTime forward;
  PassTime backward_input;  ///< with what is recomputed
  PassTime backward_weight;
  double kept_bytes = 0;       ///< from forward until backward
  double pending_bytes = 0;    ///< besides, between the two halves of a split backward
  double working_bytes = 0;    ///< besides, while its backward runs: what is recomputed
  double temporary_bytes = 0;  ///< alive in its largest operation
};

/// Where the groups of a layer's collectives lie.
struct LayerGroups {
  GroupPlacement tensor;
  GroupPlacement context;
  std::int64_t job_nodes = 1;
};

/// Cost of `operations` for one micro-batch; `recompute` says what backward computes again.
/// `input_bytes`: what is kept of a layer under Recompute::full.
PieceCost piece_cost(const std::vector<Operation>& operations, Recompute recompute,
                     double input_bytes, bool overlap_tensor_parallel, const LayerGroups& groups,
                     const Cluster& cluster, const StackProfile& profile);

}  // namespace kumihimo
