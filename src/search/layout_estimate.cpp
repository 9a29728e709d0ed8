// A lower bound of the step time, and the exact memory, of a layout in about a microsecond.
//
// Ranks of a pipeline that hold equally many layers cost the same, so costs are made for one rank
// of each kind. Memory: of the ranks of a kind, the first holds most micro-batches. Time: every
// path through the schedule, an alternation of "the same rank's next action" and "the message that
// the action waits for", takes as long as its actions and messages together, and the step takes
// at least as long as any path. Three kinds of path are tried:
//
// - Through one rank r: the first micro-batch goes forward through the ranks before r; r then runs
//   all its own passes without a gap; the last micro-batch goes backward through the ranks before.
//   On a uniform pipeline with free messages this is (m + p - 1)(f + b), the exact time.
// - Around a loop of 1F1B: in steady state rank a may start forward j + n, where n = b - a + 1,
//   after backward j - w on a, which waits for backward j - w on b, where w = p - 1 - b is the
//   warm-up of b, which comes after forward j on b, which waits for forward j on a. Each turn
//   passes n micro-batches and all messages between a and b twice.
// - Zero-bubble: as through one rank, but input gradients only, with the weight gradients that the
//   schedule puts before them.
#include "search/layout_estimate.hpp"

#include <algorithm>
#include <cmath>

#include "cost/peak_memory.hpp"
#include "layout/layer_split.hpp"
#include "layout/rank_mapping.hpp"
#include "simulator/host_memory.hpp"

namespace kumihimo {
namespace {

// The bound adds the same figures as the simulator in another order.
constexpr double rounding = 1e-9;

/// A kind of rank, with the times of its first chunk and the sums over its chunks.
struct SegmentTimes {
  double first = 0;  ///< first rank
  double last = 0;
  double ranks = 0;
  double forward_s = 0;          ///< of the first chunk, for one micro-batch
  double backward_s = 0;         ///< what the rank before waits for: backward, or its input part
  double backward_weight_s = 0;  ///< zero-bubble: what it does not wait for
  double message_s = 0;          ///< to or from the next rank
  double work_s = 0;             ///< all passes of one micro-batch
  double head_s = 0;             ///< until the first micro-batch reaches the first rank
  double tail_s = 0;  ///< from the end of a backward on the first rank to its end on rank 0

  double forward_hop_s() const { return forward_s + message_s; }
  double backward_hop_s() const { return backward_s + message_s; }
  double head_of_last_s() const { return head_s + (ranks - 1) * forward_hop_s(); }
  double tail_of_last_s() const { return tail_s + (ranks - 1) * backward_hop_s(); }
};

std::vector<SegmentTimes> segment_times(const StepCost& step,
                                        const std::vector<RankSegment>& segments,
                                        ScheduleKind schedule) {
  const bool splits_backward = schedule == ScheduleKind::zb_h1;
  std::vector<SegmentTimes> result(segments.size());
  double head = 0, tail = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    SegmentTimes& times = result[i];
    const ChunkCost& chunk = step.chunks[i];
    times.first = segments[i].first;
    times.last = segments[i].last;
    times.ranks = segments[i].ranks();
    times.forward_s = chunk.forward_s;
    times.backward_s = chunk.backward_input_s + (splits_backward ? 0 : chunk.backward_weight_s);
    times.backward_weight_s = splits_backward ? chunk.backward_weight_s : 0;
    times.message_s = chunk.message_s;
    for (std::size_t stage = i; stage < step.chunks.size(); stage += segments.size()) {
      const ChunkCost& own = step.chunks[stage];
      times.work_s += own.forward_s + own.backward_input_s + own.backward_weight_s;
    }
    times.head_s = head;
    times.tail_s = tail;
    head += times.ranks * times.forward_hop_s();
    tail += times.ranks * times.backward_hop_s();
  }
  return result;
}

/// Until the backward of the last micro-batch ends on rank 0, by way of the last rank of `on`.
double path_through_one_rank(const SegmentTimes& on, double micro_batches) {
  const double weights_before_last_backward =
      on.backward_weight_s > 0 ? std::max(0.0, micro_batches - 1 - on.last) : 0;
  const double own = on.backward_weight_s > 0
                         ? micro_batches * (on.forward_s + on.backward_s) +
                               weights_before_last_backward * on.backward_weight_s
                         : micro_batches * on.work_s;
  return on.head_of_last_s() + own + on.tail_of_last_s();
}

/// The same by way of loops of 1F1B between the first rank of `a` and the last of `b`.
double path_through_loops(const SegmentTimes& a, const SegmentTimes& b, double ranks,
                          double micro_batches) {
  const double warm_up = ranks - 1 - b.last;
  const double passed_by_turn = b.last - a.first + 1;
  if (micro_batches - 1 < warm_up + passed_by_turn) return 0;
  const double down = b.head_of_last_s() - a.head_s;  // from forward on a to its arrival at b
  const double up = b.tail_of_last_s() - a.tail_s;  // from the end of backward on b to its end on a
  const double turns = std::floor((micro_batches - 1 - warm_up) / passed_by_turn);
  const double reached = warm_up + turns * passed_by_turn;
  return a.head_s + warm_up * a.forward_s + turns * (down + b.forward_s + b.backward_s + up) +
         down + (micro_batches - reached) * b.forward_s +
         (micro_batches - reached + warm_up) * b.backward_s + b.tail_of_last_s();
}

/// Costs of one rank of each kind, as ranks of a shorter pipeline.
StepCost cost_of_kinds(const PieceCosts& pieces, const PipelineShape& shape, const TrainingJob& job,
                       ParallelLayout layout, const Cluster& cluster, const StackProfile& profile) {
  const std::int64_t devices = layout.devices();
  layout.pipeline_parallel = static_cast<int>(shape.segments.size());
  layout.layer_split = shape.layers;
  return step_cost(pieces, job, layout, cluster, profile, devices);
}

/// Whether all messages of the pipeline pass between nodes, or none does, so that it is the same
/// with a shorter one.
bool sends_alike(const ParallelLayout& layout, const Cluster& cluster) {
  const std::int64_t side_by_side = stride(layout, Axis::pipeline);
  return side_by_side >= cluster.devices_per_node ||
         side_by_side * layout.pipeline_parallel <= cluster.devices_per_node;
}

/// Whether alike ranks hold as many bytes on the host as the first of them, or each has nodes of
/// its own, of which that one's are the fullest.
bool fills_hosts_alike(const ParallelLayout& layout, const Cluster& cluster) {
  return !layout.offload.activations ||
         stride(layout, Axis::pipeline) % cluster.devices_per_node == 0;
}

}  // namespace

double least_step_seconds(const StepCost& step, const std::vector<RankSegment>& segments,
                          const ParallelLayout& layout) {
  const auto micro_batches = static_cast<double>(step.num_micro_batches);
  const std::vector<SegmentTimes> times = segment_times(step, segments, layout.schedule);
  double reduced = 0, updated = 0;
  double last_backward = 0;  // its end on rank 0 by way of the ranks seen so far
  for (std::size_t i = times.size(); i-- > 0;) {
    const SegmentTimes& on = times[i];
    last_backward = std::max(last_backward, path_through_one_rank(on, micro_batches));
    if (layout.schedule == ScheduleKind::one_forward_one_backward) {
      for (std::size_t a = 0; a <= i; ++a) {
        last_backward =
            std::max(last_backward,
                     path_through_loops(times[a], on, layout.pipeline_parallel, micro_batches));
      }
    }
    const double weights_left = std::min(micro_batches, on.first + 1) * on.backward_weight_s;
    const double end = std::max(last_backward - on.tail_s + weights_left,
                                on.head_of_last_s() + micro_batches * on.work_s);
    reduced = std::max(reduced, end + step.ranks[i].reduce_s);
    updated = std::max(updated, step.ranks[i].optimizer_s + step.ranks[i].gather_s);
  }
  return (reduced + updated + step.fixed_s) * (1 - rounding);
}

LayoutEstimate estimate(const PieceCosts& pieces, const PipelineShape& shape,
                        const TrainingJob& job, const ParallelLayout& layout,
                        const Cluster& cluster, const StackProfile& profile) {
  const bool whole = std::ssize(shape.segments) == layout.pipeline_parallel;
  if (!whole && !(sends_alike(layout, cluster) && fills_hosts_alike(layout, cluster))) {
    return estimate(pieces, whole_pipeline(stage_layers(layout, job), layout.pipeline_parallel),
                    job, layout, cluster, profile);
  }
  const StepCost step = cost_of_kinds(pieces, shape, job, layout, cluster, profile);
  LayoutEstimate result;
  result.least_step_s = least_step_seconds(step, shape.segments, layout);

  std::vector<HeldBytes> held;
  held.reserve(shape.segments.size());
  for (int i = 0; i < std::ssize(shape.segments); ++i) {
    const RankSegment& segment = shape.segments[i];
    held.push_back(held_bytes(step, i, layout, segment.first, segment.last));
  }
  const std::vector<MemoryUse> memory = peak_memory(step, held, layout, profile);
  result.fullest = fullest(memory);
  if (layout.offload.any()) {
    std::vector<double> host_bytes;
    for (std::size_t i = 0; i < memory.size(); ++i) {
      host_bytes.insert(host_bytes.end(), static_cast<std::size_t>(shape.segments[i].ranks()),
                        memory[i].host);
    }
    result.host_bytes_of_node = fullest_node_host_bytes(host_bytes, layout, cluster);
  }
  return result;
}

}  // namespace kumihimo
