#pragma once

#include <memory>

#include "comm/world.hpp"
#include "engine/step_recorder.hpp"
#include "engine/training_options.hpp"
#include "layout/rank_mapping.hpp"

namespace kumihimo {

/// The process groups of one rank, laid over the global ranks by layout/rank_mapping.
struct RankGroups {
  RankCoordinates place;
  std::unique_ptr<ProcessGroup> all;
  std::unique_ptr<ProcessGroup> tensor;
  /// Tensor-parallel ranks that hold the same key/value head; this rank alone unless tp exceeds the
  /// key/value heads.
  std::unique_ptr<ProcessGroup> kv_replicas;
  std::unique_ptr<ProcessGroup> data;
  /// The same ranks, on `stream`: what overlaps with computing.
  std::unique_ptr<ProcessGroup> overlapped_data;
  std::unique_ptr<CommunicationStream> stream;
  /// Two groups of the same ranks, so that activations and gradients between two neighbours keep
  /// orders of their own.
  std::unique_ptr<ProcessGroup> forward_messages;
  std::unique_ptr<ProcessGroup> backward_messages;
  /// First and last pipeline rank, where both hold a tied embedding; else empty.
  std::unique_ptr<ProcessGroup> tied_embedding;
  /// All ranks of this pipeline rank: they hold parts of the same layers.
  std::unique_ptr<ProcessGroup> stage_peers;
};

/// Called by all ranks of the world. Times are noted in `recorder`.
RankGroups make_rank_groups(World& world, const TrainingOptions& options, StepRecorder& recorder);

}  // namespace kumihimo
