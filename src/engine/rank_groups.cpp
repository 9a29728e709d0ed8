#include "engine/rank_groups.hpp"

#include <numeric>
#include <utility>
#include <vector>

#include "engine/measured_comm.hpp"

namespace kumihimo {
namespace {

std::vector<int> ranks_along(const ParallelLayout& layout, const RankCoordinates& place,
                             Axis axis) {
  std::vector<int> ranks;
  RankCoordinates member = place;
  for (int i = 0; i < degree(layout, axis); ++i) {
    (axis == Axis::tensor ? member.tensor : axis == Axis::data ? member.data : member.pipeline) = i;
    ranks.push_back(static_cast<int>(global_rank(layout, member)));
  }
  return ranks;
}

std::vector<int> kv_replica_ranks(const TrainingOptions& options,
                                  const std::vector<int>& tensor_ranks, int tensor_rank) {
  const std::int64_t kv_heads = options.job.model.kv_heads;
  const auto tp = static_cast<std::int64_t>(tensor_ranks.size());
  if (tp <= kv_heads) return {tensor_ranks[static_cast<std::size_t>(tensor_rank)]};
  const std::int64_t replicas = tp / kv_heads;
  const auto first = tensor_ranks.begin() + tensor_rank / replicas * replicas;
  return {first, first + replicas};
}

std::vector<int> stage_peer_ranks(const ParallelLayout& layout, int pipeline_rank) {
  std::vector<int> ranks;
  for (int rank = 0; rank < layout.devices(); ++rank) {
    if (coordinates(layout, rank).pipeline == pipeline_rank) ranks.push_back(rank);
  }
  return ranks;
}

}  // namespace

RankGroups make_rank_groups(World& world, const TrainingOptions& options, StepRecorder& recorder) {
  const ParallelLayout& layout = options.layout;
  RankGroups groups;
  groups.place = coordinates(layout, world.rank());
  const std::vector<int> tensor = ranks_along(layout, groups.place, Axis::tensor);
  const std::vector<int> data = ranks_along(layout, groups.place, Axis::data);
  const std::vector<int> pipeline = ranks_along(layout, groups.place, Axis::pipeline);
  std::vector<int> all(static_cast<std::size_t>(world.size()));
  std::iota(all.begin(), all.end(), 0);

  const auto make = [&](const std::vector<int>& ranks, Activity activity) {
    return measured(world.make_group(ranks), recorder, activity);
  };
  // Who has finished its passes waits here for the rest of the pipeline.
  groups.all = make(
      all, layout.pipeline_parallel > 1 ? Activity::pipeline_wait : Activity::data_communication);
  groups.tensor = make(tensor, Activity::tensor_communication);
  groups.kv_replicas =
      make(kv_replica_ranks(options, tensor, groups.place.tensor), Activity::tensor_communication);
  groups.data = make(data, Activity::data_communication);
  auto stream = world.make_stream();
  groups.overlapped_data = world.make_group(data, stream.get());
  groups.stream = measured(std::move(stream), recorder);
  groups.forward_messages = make(pipeline, Activity::pipeline_wait);
  groups.backward_messages = make(pipeline, Activity::pipeline_wait);
  groups.stage_peers =
      make(stage_peer_ranks(layout, groups.place.pipeline), Activity::data_communication);

  const int last = layout.pipeline_parallel - 1;
  const bool holds_table = groups.place.pipeline == 0 || groups.place.pipeline == last;
  if (options.job.model.tied_embeddings && last > 0 && holds_table) {
    groups.tied_embedding = make({pipeline.front(), pipeline.back()}, Activity::data_communication);
  }
  return groups;
}

}  // namespace kumihimo
