#include "simulator/host_memory.hpp"

#include <algorithm>

#include "layout/rank_mapping.hpp"

namespace kumihimo {
namespace {

double host_bytes_of_node(std::int64_t node, const std::vector<double>& by_pipeline_rank,
                          std::int64_t devices_per_rank, std::int64_t devices_per_node) {
  const std::int64_t devices = std::ssize(by_pipeline_rank) * devices_per_rank;
  const std::int64_t end = std::min((node + 1) * devices_per_node, devices);
  double bytes = 0;
  for (std::int64_t device = node * devices_per_node; device < end;) {
    const std::int64_t rank = device / devices_per_rank;
    const std::int64_t next = std::min(end, (rank + 1) * devices_per_rank);
    bytes += static_cast<double>(next - device) * by_pipeline_rank[static_cast<std::size_t>(rank)];
    device = next;
  }
  return bytes;
}

}  // namespace

double fullest_node_host_bytes(const std::vector<double>& by_pipeline_rank,
                               const ParallelLayout& layout, const Cluster& cluster) {
  const std::int64_t devices_per_rank = stride(layout, Axis::pipeline);
  const std::int64_t devices_per_node = cluster.devices_per_node;
  // A rank that spans many nodes fills most of them alike: the node on which it begins and the next
  // one stand for all.
  double fullest = 0;
  for (std::int64_t rank = 0; rank < std::ssize(by_pipeline_rank); ++rank) {
    const std::int64_t first = rank * devices_per_rank / devices_per_node;
    for (const std::int64_t node : {first, first + 1}) {
      fullest = std::max(
          fullest, host_bytes_of_node(node, by_pipeline_rank, devices_per_rank, devices_per_node));
    }
  }
  return fullest;
}

}  // namespace kumihimo
