#include "cost/peak_memory.hpp"

#include <algorithm>

#include "schedule/schedule.hpp"

namespace kumihimo {

HeldBytes held_bytes(const StepCost& step, int rank, const ParallelLayout& layout, int first,
                     int last) {
  std::vector<double> kept;
  double pending = 0;
  for (std::size_t stage = rank; stage < step.chunks.size(); stage += step.ranks.size()) {
    kept.push_back(step.chunks[stage].kept_bytes);
    pending = step.chunks[stage].pending_bytes;  // only a single chunk's backward is split
  }
  const int micro_batches = static_cast<int>(step.num_micro_batches);
  return {peak_held(layout.schedule, layout.pipeline_parallel, micro_batches, first, kept),
          pending * peak_waiting(layout.schedule, micro_batches, last)};
}

std::vector<HeldBytes> held_bytes(const StepCost& step, const ParallelLayout& layout) {
  std::vector<HeldBytes> held;
  held.reserve(step.ranks.size());
  for (int rank = 0; rank < std::ssize(step.ranks); ++rank) {
    held.push_back(held_bytes(step, rank, layout, rank, rank));
  }
  return held;
}

std::vector<MemoryUse> peak_memory(const StepCost& step, const std::vector<HeldBytes>& held,
                                   const ParallelLayout& layout, const StackProfile& profile) {
  const std::size_t ranks = step.ranks.size();
  std::vector<MemoryUse> result;
  result.reserve(ranks);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    MemoryUse use = step.ranks[rank].states;
    double kept_of_layer = 0;
    for (std::size_t stage = rank; stage < step.chunks.size(); stage += ranks) {
      const ChunkCost& chunk = step.chunks[stage];
      kept_of_layer = std::max(kept_of_layer, chunk.layer_kept_bytes);
      use.workspace = std::max(use.workspace, chunk.working_bytes);
    }
    double kept = held[rank].kept;
    if (layout.offload.activations) {
      use.host += kept;  // the tensors alone
      // The layer in use and the one that is being copied.
      kept = std::min(kept, 2 * kept_of_layer);
    }
    use.activations = profile.activation_factor * (kept + held[rank].pending);
    const int communicators = (layout.tensor_parallel > 1) + (layout.pipeline_parallel > 1) +
                              (layout.data_parallel > 1) + (layout.context_parallel > 1);
    use.context = (profile.context_gib + communicators * profile.communicator_gib) * GiB;
    // States are allocated once; what comes and goes leaves holes.
    use.context += profile.allocator_overhead * (use.activations + use.workspace);
    result.push_back(use);
  }
  return result;
}

const MemoryUse& fullest(const std::vector<MemoryUse>& ranks) {
  return *std::ranges::max_element(ranks, {}, &MemoryUse::total);
}

}  // namespace kumihimo
