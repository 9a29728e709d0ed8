#pragma once

#include <cstdint>
#include <vector>

#include "cluster/cluster.hpp"
#include "cost/stack_profile.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// A schedule with its virtual stages per rank: the two make sense together only.
struct ScheduleChoice {
  ScheduleKind kind = ScheduleKind::one_forward_one_backward;
  int virtual_stages_per_rank = 1;

  bool operator==(const ScheduleChoice&) const = default;
};

/// The values that a search may give each knob; data parallelism takes the devices that are left,
/// and a layout that leaves it none of the wanted degrees does not belong to the space.
/// A constraint of the user narrows a list. What layouts cannot run is found out by the search, not
/// left out here.
struct SearchSpace {
  std::vector<int> tensor_parallel{1};
  std::vector<int> pipeline_parallel{1};
  std::vector<int> context_parallel{1};
  std::vector<int> data_parallel;  ///< wanted degrees; empty: any
  std::vector<int> micro_batch_size{1};
  std::vector<ScheduleChoice> schedules{ScheduleChoice{}};
  std::vector<Recompute> recompute{Recompute::none};
  std::vector<bool> sequence_parallel{false};
  std::vector<int> zero_stage{0};
  std::vector<int> zero_group{0};
  std::vector<AttentionKernel> attention{AttentionKernel::flash2};
  std::vector<NormKernel> norm{NormKernel::fused};
  std::vector<Precision> precision{Precision::bf16};
  std::vector<Precision> gradient_dtype{Precision::fp32};
  std::vector<bool> overlap_data_parallel{true};
  std::vector<bool> overlap_tensor_parallel{false};
  std::vector<Offload> offload{Offload{}};
  LayerBalance layer_balance = LayerBalance::layers;

  /// Layouts in the space, twins, impossible ones and those of unwanted data parallelism included;
  /// saturates at 2^63 - 1.
  std::int64_t size() const;

  bool operator==(const SearchSpace&) const = default;
};

/// The fastest attention kernel that the stack is known to have and the device can run, on heads of
/// `head_dim` elements in that precision.
AttentionKernel default_attention(const Device& device, const FrameworkDefaults& defaults,
                                  Precision precision, std::int64_t head_dim);

/// The stack's precision if the device has it; else bf16, fp16 or fp32, the first that it has.
Precision default_precision(const Device& device, const FrameworkDefaults& defaults);

/// What gradients are kept in where products are in `precision`: the stack's choice, as far as the
/// precision allows it.
Precision default_gradient_dtype(Precision precision, const FrameworkDefaults& defaults);

/// What is worth trying for a job: tensor parallelism within a node, every pipeline depth that
/// leaves whole replicas, micro-batches up to 16, 1F1B and its interleaved form, all kinds of
/// recompute, ZeRO 0, 1 and 3, context parallelism where each rank keeps 8,192 tokens or more; for
/// the rest what the stack does. Requires a job and devices of at least 1.
SearchSpace default_space(const TrainingJob& job, const Cluster& cluster, std::int64_t devices,
                          const StackProfile& profile);

/// Degrees of a knob: the divisors of `number` up to `limit`; 1 where there is none.
std::vector<int> divisors(std::int64_t number, std::int64_t limit);

}  // namespace kumihimo
