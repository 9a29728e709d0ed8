#pragma once

#include <vector>

#include "cluster/cluster.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// Host memory that offloaded states take on the fullest node. `by_pipeline_rank`: bytes for one
/// device of each pipeline rank. Ranks are numbered node by node, pipeline parallelism outermost.
double fullest_node_host_bytes(const std::vector<double>& by_pipeline_rank,
                               const ParallelLayout& layout, const Cluster& cluster);

}  // namespace kumihimo
