#pragma once

#include <cstdint>

#include "cluster/topology.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// The axes of the device mesh, fastest first: neighbouring global ranks differ in their tensor
/// rank, then context, data and pipeline (Megatron-LM's default order). The axis that talks most
/// thus stays within a node. All functions here need a layout whose degrees are valid.
enum class Axis : std::uint8_t { tensor, context, data, pipeline };

int degree(const ParallelLayout& layout, Axis axis);

/// Distance in global ranks between neighbours along `axis`.
std::int64_t stride(const ParallelLayout& layout, Axis axis);

struct RankCoordinates {
  int tensor = 0;
  int context = 0;
  int data = 0;
  int pipeline = 0;

  bool operator==(const RankCoordinates&) const = default;
};

/// Requires 0 <= global_rank < layout.devices().
RankCoordinates coordinates(const ParallelLayout& layout, std::int64_t global_rank);

/// Inverse of coordinates(). Requires each coordinate to be below its degree.
std::int64_t global_rank(const ParallelLayout& layout, const RankCoordinates& coordinates);

/// Process groups of one kind: members are `stride` global ranks apart.
struct RankGroup {
  std::int64_t stride = 1;
  std::int64_t size = 1;

  bool operator==(const RankGroup&) const = default;
};

RankGroup axis_group(const ParallelLayout& layout, Axis axis);

/// Ranks that hold the same weights and sum their gradients: data x context.
RankGroup gradient_group(const ParallelLayout& layout);

/// Neighbouring ranks of the gradient group that divide the ZeRO states among them: zero_group of
/// them, or all; size 1 without ZeRO.
RankGroup zero_shard_group(const ParallelLayout& layout);

/// Ranks that hold the same shard of the ZeRO states (hybrid sharding): across the shard groups.
RankGroup zero_replica_group(const ParallelLayout& layout);

/// How the worst group of that kind lies over the nodes.
GroupPlacement placement(const ParallelLayout& layout, RankGroup group, const Cluster& cluster);
GroupPlacement placement(const ParallelLayout& layout, Axis axis, const Cluster& cluster);

}  // namespace kumihimo
