#pragma once

#include "cluster/cluster.hpp"
#include "cluster/topology.hpp"
#include "cost/stack_profile.hpp"
#include "model/operations.hpp"

namespace kumihimo {

/// Seconds of one collective over a group of ranks placed as `group`, alone on its links.
/// Bandwidth-optimal rings (Patarasuk & Yuan 2009): an all-reduce of V bytes over N ranks moves
/// 2 (N-1)/N V through every rank, gather and scatter half of that; within a node at the intra-node
/// rate, between nodes through the ranks_per_node NIC shares of the group's members in one node.
/// The slower of the two bounds it. `job_nodes`: nodes of the whole job, whose other groups share
/// the fabric: inter-node bandwidth falls with them as the profile says. Latency: one hop per ring
/// step in a node, one per node between.
double collective_seconds(CollectiveKind kind, double bytes, const GroupPlacement& group,
                          std::int64_t job_nodes, const Cluster& cluster,
                          const StackProfile& profile);

/// Seconds of one pipeline message of `bytes` between ranks `stride` apart.
double message_seconds(double bytes, std::int64_t stride, const Cluster& cluster,
                       const StackProfile& profile);

}  // namespace kumihimo
