#pragma once

#include <cstdint>
#include <limits>

#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// What decides between layouts: the score, then simplicity, then the number in the space.
struct LayoutOrder {
  double score = std::numeric_limits<double>::infinity();
  int tensor_parallel = 0, pipeline_parallel = 0, context_parallel = 0;
  int virtual_stages_per_rank = 0, zero_stage = 0;
  std::int64_t index = 0;

  LayoutOrder() = default;
  LayoutOrder(double score_, const ParallelLayout& layout, std::int64_t index_)
      : score(score_),
        tensor_parallel(layout.tensor_parallel),
        pipeline_parallel(layout.pipeline_parallel),
        context_parallel(layout.context_parallel),
        virtual_stages_per_rank(layout.virtual_stages_per_rank),
        zero_stage(layout.zero_stage),
        index(index_) {}

  auto operator<=>(const LayoutOrder&) const = default;
};

}  // namespace kumihimo
