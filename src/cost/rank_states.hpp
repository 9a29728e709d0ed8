#pragma once

#include <cstdint>

#include "cost/memory.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// Parameters of a rank or of one of its stages, and how many of them it owns where states are
/// sharded. Each piece that is gathered and reduced on its own (a layer, the table, the positions,
/// the final norm, the head) is padded to a multiple of the ranks that share it, as the trainer and
/// FSDP do.
struct RankParameters {
  std::int64_t whole = 0;
  std::int64_t shard = 0;
  std::int64_t outside_layers = 0;  ///< of the whole
  std::int64_t layers = 0;          ///< a count

  RankParameters& operator+=(const RankParameters& other);
};

/// Of a virtual stage with so many layers.
RankParameters stage_parameters(const TrainingJob& job, const ParallelLayout& layout,
                                std::int64_t layers, bool first, bool last, int shard_ranks);

/// Bytes that a parameter takes of each state. The optimizer's are m and v in fp32 and, below 32
/// bits, the master weights.
struct StateBytes {
  std::int64_t weights = 0;
  std::int64_t gradients = 0;
  std::int64_t optimizer = 0;
  bool master = false;
};

StateBytes state_bytes(const ParallelLayout& layout);

/// How many of its parameters a rank holds the weights of, the gradients of, and the optimizer's
/// states of.
struct OwnedParameters {
  std::int64_t weights = 0;
  std::int64_t gradients = 0;
  std::int64_t optimizer = 0;
};

OwnedParameters owned_parameters(const RankParameters& rank, const ParallelLayout& layout,
                                 int shard_ranks);

/// Memory of a rank but for what micro-batches keep: states, and what of sharded or offloaded ones
/// is whole on the device at a time.
MemoryUse rank_states(const RankParameters& rank, const TrainingJob& job,
                      const ParallelLayout& layout, int shard_ranks);

}  // namespace kumihimo
