#include "cost/collective_time.hpp"

#include <algorithm>
#include <cmath>

namespace kumihimo {

double congestion(std::int64_t job_nodes, const StackProfile& profile) {
  // A third below the step, and half as much again above it, 99 of 100 are decided.
  constexpr double steepness = 12;
  return 1 / (1 + std::pow(profile.congested_nodes / static_cast<double>(job_nodes), steepness));
}

double ring_steps(CollectiveKind kind, const GroupPlacement& group) {
  if (kind == CollectiveKind::none || group.ranks <= 1) return 0;
  return (kind == CollectiveKind::all_reduce ? 2 : 1) * (group.ranks - 1);
}

double collective_seconds(CollectiveKind kind, double bytes, const GroupPlacement& group,
                          std::int64_t job_nodes, const Cluster& cluster,
                          const StackProfile& profile) {
  if (kind == CollectiveKind::none || group.ranks <= 1 || bytes <= 0) return 0;
  const double steps = ring_steps(kind, group);
  const double passes = kind == CollectiveKind::all_reduce ? 2 : 1;
  const double moved = kind == CollectiveKind::send_receive ? bytes : steps / group.ranks * bytes;

  // Blocks that are sent on make one ring, which has one neighbour's links of a mesh.
  const int joined = kind == CollectiveKind::send_receive ? 2 : group.ranks_per_node;
  const double within_node =
      group.ranks_per_node > 1 ? moved / (cluster.intra_node_bandwidth(joined) * profile.intra_node)
                               : 0;
  if (group.nodes <= 1) {
    return within_node + profile.collective_s +
           (cluster.intra_node.latency_s + profile.hop_s) * steps;
  }
  const int shares = kind == CollectiveKind::send_receive ? 1 : std::max(1, group.ranks_per_node);
  const double node_bandwidth =
      cluster.inter_node.bandwidth * shares * profile.inter_node *
      std::pow(static_cast<double>(job_nodes), -profile.inter_node_scaling) *
      std::pow(profile.congested_bandwidth, congestion(job_nodes, profile));
  const double between_nodes = moved / node_bandwidth;
  const double hops = passes * (group.nodes - 1);
  return std::max(within_node, between_nodes) + profile.collective_s +
         (cluster.inter_node.latency_s + profile.node_hop_s) * hops + profile.hop_s * steps;
}

double message_seconds(double bytes, bool between_nodes, const Cluster& cluster,
                       const StackProfile& profile) {
  const Link link = between_nodes
                        ? cluster.inter_node
                        : Link{cluster.intra_node_bandwidth(2), cluster.intra_node.latency_s};
  return bytes / (link.bandwidth * profile.point_to_point) + link.latency_s;
}

}  // namespace kumihimo
