#include "comm/emulated/link_model.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "cluster/topology.hpp"

namespace kumihimo {

Link ring_link(const Cluster& cluster, std::span<const int> ranks) {
  const auto node_of = [&](int rank) { return rank / cluster.devices_per_node; };
  GroupPlacement placement{static_cast<int>(ranks.size()), static_cast<int>(ranks.size()), 0};
  for (auto first = ranks.begin(); first != ranks.end();) {
    const auto next = std::find_if(first, ranks.end(),
                                   [&](int rank) { return node_of(rank) != node_of(*first); });
    placement.ranks_per_node = std::min(placement.ranks_per_node, static_cast<int>(next - first));
    ++placement.nodes;
    first = next;
  }
  return slowest_link(cluster, placement);
}

Link link_between(const Cluster& cluster, int rank, int other) {
  return ring_link(cluster, std::array{std::min(rank, other), std::max(rank, other)});
}

double all_gather_time_s(const Link& link, int members, double bytes) {
  return (members - 1) * (link.latency_s + bytes / members / link.bandwidth);
}

double reduce_scatter_time_s(const Link& link, int members, double bytes) {
  return all_gather_time_s(link, members, bytes);
}

double all_reduce_time_s(const Link& link, int members, double bytes) {
  return reduce_scatter_time_s(link, members, bytes) + all_gather_time_s(link, members, bytes);
}

double broadcast_time_s(const Link& link, int members, double bytes) {
  return (members - 1) * link.latency_s + bytes / link.bandwidth;
}

double barrier_time_s(const Link& link, int members) {
  return std::bit_width(static_cast<unsigned>(members - 1)) * link.latency_s;
}

double OutgoingLinks::arrival_s(int receiver, double bytes, double start_s) {
  const Link link = link_between(cluster_, rank_, receiver);
  double& free_at_s = free_at_s_[static_cast<std::size_t>(receiver)];
  free_at_s = std::max(free_at_s, start_s) + bytes / link.bandwidth;
  return free_at_s + link.latency_s;
}

}  // namespace kumihimo
