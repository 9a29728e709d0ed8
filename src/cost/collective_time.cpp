#include "cost/collective_time.hpp"

#include <algorithm>
#include <cmath>

namespace kumihimo {

double congestion(std::int64_t job_nodes, const StackProfile& profile) {
  // A third below the step, and half as much again above it, 99 of 100 are decided.
  constexpr double steepness = 12;
  return 1 / (1 + std::pow(profile.congested_nodes / static_cast<double>(job_nodes), steepness));
}

namespace {

/// Share of a NIC's bandwidth that is left in a job of so many nodes. A fall that was fitted to a
/// few dozen nodes would leave next to nothing on thousands, where networks are built otherwise: it
/// is trusted up to twice the devices that were fitted to, as far as runs held out have confirmed
/// one (docs/accuracy.md); beyond, bandwidth falls no faster than the round figure.
double share_of_fabric(std::int64_t job_nodes, const Cluster& cluster,
                       const StackProfile& profile) {
  constexpr double trusted_over_fitted = 2;
  static const double usual_scaling = StackProfile().inter_node_scaling;
  const auto nodes = static_cast<double>(job_nodes);
  double trusted = nodes;
  if (profile.range) {
    const double devices = trusted_over_fitted * profile.range->devices.most;
    trusted = std::min(nodes, std::max(1.0, devices / cluster.devices_per_node));
  }
  const double within = std::pow(trusted, -profile.inter_node_scaling);
  if (nodes <= trusted) return within;
  return within * std::pow(nodes / trusted, -std::min(profile.inter_node_scaling, usual_scaling));
}

}  // namespace

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
      share_of_fabric(job_nodes, cluster, profile) *
      std::pow(profile.congested_bandwidth, congestion(job_nodes, profile));
  const double between_nodes = moved / node_bandwidth;
  const double hops = passes * (group.nodes - 1);
  return std::max(within_node, between_nodes) + profile.collective_s +
         (cluster.inter_node.latency_s + profile.node_hop_s) * hops + profile.hop_s * steps;
}

double message_seconds(double bytes, bool between_nodes, const Cluster& cluster,
                       const StackProfile& profile) {
  const GroupPlacement ends = between_nodes ? GroupPlacement{2, 1, 2} : GroupPlacement{2, 2, 1};
  const Link link = slowest_link(cluster, ends);
  return bytes / (link.bandwidth * profile.point_to_point) + link.latency_s;
}

}  // namespace kumihimo
