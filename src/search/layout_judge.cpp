#include "search/layout_judge.hpp"

#include <tuple>

#include "layout/validate.hpp"

namespace kumihimo {

std::optional<std::string_view> LayoutJudge::fault_of(const ParallelLayout& layout) const {
  const TrainingJob& job = request_.job;
  if (const auto fault = first_fault(layout, job, request_.cluster, request_.devices)) {
    return fault;
  }
  if (num_actions(job, layout) > max_schedule_actions) {
    return "too many micro-batches to simulate";
  }
  return std::nullopt;
}

LayoutEstimate LayoutJudge::estimate(const ParallelLayout& layout, const PipelineShape& shape) {
  const auto key = [](const ParallelLayout& l) {
    return std::tuple(l.tensor_parallel, l.context_parallel, l.micro_batch_size, l.recompute,
                      l.sequence_parallel, l.attention, l.norm, l.precision,
                      l.overlap_tensor_parallel);
  };
  if (!pieces_ || key(layout) != key(pieces_of_)) {
    pieces_ = piece_costs(request_.job, layout, request_.cluster, request_.profile);
    pieces_of_ = layout;
  }
  return kumihimo::estimate(*pieces_, shape, request_.job, layout, request_.cluster,
                            request_.profile);
}

}  // namespace kumihimo
