#pragma once

#include <vector>

#include "cost/step_cost.hpp"

namespace kumihimo {

/// Bytes that micro-batches hold on a rank, each at its peak over the schedule.
struct HeldBytes {
  double kept = 0;     ///< from a forward until its backward
  double pending = 0;  ///< between the two halves of a split backward
};

/// Of rank `rank` of `step`, which stands for the pipeline ranks first..last of `layout`: what the
/// fullest of them holds. Ranks further on keep no more, and let no fewer wait.
HeldBytes held_bytes(const StepCost& step, int rank, const ParallelLayout& layout, int first,
                     int last);

/// Of every pipeline rank.
std::vector<HeldBytes> held_bytes(const StepCost& step, const ParallelLayout& layout);

/// Peak memory of every rank of `step`.
std::vector<MemoryUse> peak_memory(const StepCost& step, const std::vector<HeldBytes>& held,
                                   const ParallelLayout& layout, const StackProfile& profile);

/// The rank that needs most, of at least one.
const MemoryUse& fullest(const std::vector<MemoryUse>& ranks);

}  // namespace kumihimo
