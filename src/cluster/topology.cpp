#include "cluster/topology.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/ceil_divide.hpp"
#include "base/check.hpp"

namespace kumihimo {
namespace {

/// One group by the place of its first member within a node. Requires stride < devices_per_node:
/// no node between the first and the last is then skipped.
GroupPlacement place_one(std::int64_t devices_per_node, std::int64_t stride, std::int64_t size,
                         std::int64_t first) {
  const std::int64_t last = first + (size - 1) * stride;
  const std::int64_t nodes = last / devices_per_node + 1;
  if (nodes == 1) return {static_cast<int>(size), static_cast<int>(size), 1};
  const std::int64_t on_first_node = (devices_per_node - first + stride - 1) / stride;
  const std::int64_t on_last_node = last % devices_per_node / stride + 1;
  return {static_cast<int>(size), static_cast<int>(std::min(on_first_node, on_last_node)),
          static_cast<int>(nodes)};
}

}  // namespace

std::int64_t nodes_of(std::int64_t devices, const Cluster& cluster) {
  return ceil_divide(devices, cluster.devices_per_node);
}

GroupPlacement place_group(const Cluster& cluster, std::int64_t stride, std::int64_t size,
                           std::int64_t world_size) {
  constexpr std::int64_t largest = std::numeric_limits<std::int32_t>::max();
  KUMIHIMO_CHECK(stride >= 1 && stride <= largest && size >= 1 && size <= largest);
  KUMIHIMO_CHECK(cluster.devices_per_node >= 1 && world_size >= 0);
  const std::int64_t node = cluster.devices_per_node;
  const std::int64_t block = stride * size;  // ranks that one set of interleaved groups covers
  const int ranks = static_cast<int>(size);

  if (size == 1 || node % block == 0) return {ranks, ranks, 1};
  if (stride >= node) return {ranks, 1, ranks};
  if (block % node == 0 && node % stride == 0) {
    return {ranks, static_cast<int>(node / stride), static_cast<int>(block / node)};
  }

  // Blocks start at every multiple of gcd(block, node) within a node, then the pattern repeats.
  // Within a block the figures change with the offset j of the group only where its first or its
  // last member passes into the next node: the worst stands at an end of such an interval. (A node
  // in the middle never holds fewer members: the group at j = stride - 1 of the first block has
  // floor(node / stride) on its first node, if it leaves that node at all; groups that do not have
  // no middle node in any block.)
  std::int64_t blocks = node / std::gcd(block, node);
  if (world_size > 0) blocks = std::clamp<std::int64_t>(world_size / block, 1, blocks);
  GroupPlacement worst{ranks, ranks, 1};
  for (std::int64_t k = 0; k < blocks; ++k) {
    const std::int64_t start = (k * (block % node)) % node;
    const std::int64_t first_passes = node - start;
    const std::int64_t last_passes = (node - (start + (size - 1) * stride) % node) % node;
    for (const std::int64_t j : {std::int64_t{0}, stride - 1, first_passes - 1, first_passes,
                                 last_passes - 1, last_passes}) {
      if (j < 0 || j >= stride) continue;
      const GroupPlacement one = place_one(node, stride, size, (start + j) % node);
      worst.nodes = std::max(worst.nodes, one.nodes);
      worst.ranks_per_node = std::min(worst.ranks_per_node, one.ranks_per_node);
    }
  }
  return worst;
}

bool crosses_nodes(const Cluster& cluster, std::int64_t first, std::int64_t count,
                   std::int64_t distance) {
  KUMIHIMO_CHECK(cluster.devices_per_node >= 1 && distance >= 0);
  const std::int64_t node = cluster.devices_per_node;
  const std::int64_t furthest = std::min(first % node + count, node) - 1;  // into its node
  return count > 0 && furthest + distance >= node;
}

Link slowest_link(const Cluster& cluster, const GroupPlacement& placement) {
  const double within_node = cluster.intra_node_bandwidth(placement.ranks_per_node);
  if (placement.nodes <= 1) return {within_node, cluster.intra_node.latency_s};
  Link link = cluster.inter_node;
  if (placement.ranks_per_node > 1) {
    link.bandwidth = std::min(link.bandwidth * placement.ranks_per_node, within_node);
  }
  return link;
}

}  // namespace kumihimo
