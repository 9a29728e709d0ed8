#pragma once

#include "cluster/cluster.hpp"
#include "cluster/topology.hpp"
#include "cost/stack_profile.hpp"
#include "model/operations.hpp"

namespace kumihimo {

/// Seconds of one collective over a group of ranks placed as `group`, alone on its links.
/// Bandwidth-optimal rings (Patarasuk & Yuan 2009): an all-reduce of V bytes over N ranks moves
/// 2 (N-1)/N V through every rank, gather and scatter half of that; within a node at the rate that
/// the members have there, between nodes through the ranks_per_node NIC shares of the group's
/// members in one node: many rings at once, each with another member at the edge. Blocks that are
/// sent on (ring attention, Liu et al. 2023) make one ring, whose edge has its own share alone. The
/// slower of the two bounds it. `job_nodes`: nodes of the whole job, whose other groups share the
/// fabric: inter-node bandwidth falls with them as the profile says, smoothly (far beyond the jobs
/// that it was fitted to no faster than usual), and at once where the job outgrows the network
/// (congestion). Latency: one hop per ring step in a node, one per node between.
double collective_seconds(CollectiveKind kind, double bytes, const GroupPlacement& group,
                          std::int64_t job_nodes, const Cluster& cluster,
                          const StackProfile& profile);

/// How far a job of that many nodes has outgrown its network, from 0 (not at all) to 1: a steep
/// step at the profile's congested_nodes. Networks are built in units (a leaf switch, a rail, a
/// pod), and a job that spreads over more of them meets other jobs and other routes.
double congestion(std::int64_t job_nodes, const StackProfile& profile);

/// Steps that a ring takes for one collective, each from one rank to the next.
double ring_steps(CollectiveKind kind, const GroupPlacement& group);

/// Seconds of one pipeline message of `bytes`, within a node or between two.
double message_seconds(double bytes, bool between_nodes, const Cluster& cluster,
                       const StackProfile& profile);

}  // namespace kumihimo
