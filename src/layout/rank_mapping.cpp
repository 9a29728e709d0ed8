#include "layout/rank_mapping.hpp"

namespace kumihimo {

int degree(const ParallelLayout& layout, Axis axis) {
  switch (axis) {
    case Axis::tensor: return layout.tensor_parallel;
    case Axis::context: return layout.context_parallel;
    case Axis::data: return layout.data_parallel;
    case Axis::pipeline: return layout.pipeline_parallel;
  }
  return 1;
}

std::int64_t stride(const ParallelLayout& layout, Axis axis) {
  std::int64_t inner = 1;
  for (const Axis faster : {Axis::tensor, Axis::context, Axis::data}) {
    if (faster >= axis) break;
    inner *= degree(layout, faster);
  }
  return inner;
}

RankCoordinates coordinates(const ParallelLayout& layout, std::int64_t global_rank) {
  KUMIHIMO_CHECK(global_rank >= 0 && global_rank < layout.devices());
  const auto along = [&](Axis axis) {
    return static_cast<int>(global_rank / stride(layout, axis) % degree(layout, axis));
  };
  return {along(Axis::tensor), along(Axis::context), along(Axis::data), along(Axis::pipeline)};
}

std::int64_t global_rank(const ParallelLayout& layout, const RankCoordinates& coordinates) {
  const auto offset = [&](Axis axis, int coordinate) {
    KUMIHIMO_CHECK(coordinate >= 0 && coordinate < degree(layout, axis));
    return coordinate * stride(layout, axis);
  };
  return offset(Axis::tensor, coordinates.tensor) + offset(Axis::context, coordinates.context) +
         offset(Axis::data, coordinates.data) + offset(Axis::pipeline, coordinates.pipeline);
}

RankGroup axis_group(const ParallelLayout& layout, Axis axis) {
  return {stride(layout, axis), degree(layout, axis)};
}

RankGroup gradient_group(const ParallelLayout& layout) {
  return {stride(layout, Axis::context),
          std::int64_t{layout.context_parallel} * layout.data_parallel};
}

RankGroup zero_shard_group(const ParallelLayout& layout) {
  RankGroup group = gradient_group(layout);
  if (layout.zero_stage == 0) {
    group.size = 1;
  } else if (layout.zero_group != 0) {
    group.size = layout.zero_group;
  }
  return group;
}

RankGroup zero_replica_group(const ParallelLayout& layout) {
  const RankGroup shards = zero_shard_group(layout);
  return {shards.stride * shards.size, gradient_group(layout).size / shards.size};
}

GroupPlacement placement(const ParallelLayout& layout, RankGroup group, const Cluster& cluster) {
  return place_group(cluster, group.stride, group.size, layout.devices());
}

GroupPlacement placement(const ParallelLayout& layout, Axis axis, const Cluster& cluster) {
  return placement(layout, axis_group(layout, axis), cluster);
}

}  // namespace kumihimo
