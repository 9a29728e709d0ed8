#pragma once

#include <cstdint>

#include "cluster/cluster.hpp"

namespace kumihimo {

/// Nodes that so many devices fill, the last perhaps in part.
std::int64_t nodes_of(std::int64_t devices, const Cluster& cluster);

/// How the worst group of one kind lies over the nodes: each figure on its own is the worst.
struct GroupPlacement {
  int ranks = 1;           ///< members of the group
  int ranks_per_node = 1;  ///< fewest members that any group has on a node that it touches
  int nodes = 1;           ///< most nodes that any group touches

  bool operator==(const GroupPlacement&) const = default;
};

/// Placement of the process groups that partition the ranks with a stride: group members are
/// base + i*stride for i < size, with base = k*stride*size + j for k >= 0 and 0 <= j < stride
/// (tensor parallelism: stride 1; the axis outside it: stride tp; and so on). Ranks are numbered
/// node by node, cluster.devices_per_node to a node.
/// `world_size` limits k to the groups that exist; 0 means any number of groups, so that a group
/// that straddles two nodes somewhere is counted. Exact, whether or not the strides divide the
/// node. If they do, ranks == ranks_per_node * nodes.
/// Requires stride and size from 1 to 2^31 - 1.
GroupPlacement place_group(const Cluster& cluster, std::int64_t stride, std::int64_t size,
                           std::int64_t world_size = 0);

/// Whether any of the `count` ranks from `first` on lies on another node than the rank `distance`
/// after it. Requires distance of at least 0.
bool crosses_nodes(const Cluster& cluster, std::int64_t first, std::int64_t count,
                   std::int64_t distance);

/// The link that bounds a collective of such a group, per member. Inside a node: intra_node, of a
/// mesh the part that joins the members. Across nodes: the latency of inter_node, and the bandwidth
/// of a ring that enters and leaves each node once, spread over the NIC shares of the members
/// there: inter_node.bandwidth * ranks_per_node, at most what members have inside a node if the
/// ring also has hops there. All groups of that kind are taken to communicate at once, so that a
/// NIC share serves its own device only.
Link slowest_link(const Cluster& cluster, const GroupPlacement& placement);

}  // namespace kumihimo
