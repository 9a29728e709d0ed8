#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/precision.hpp"
#include "cluster/cluster.hpp"
#include "model/kernels.hpp"
#include "model/transformer.hpp"

namespace kumihimo {

enum class ScheduleKind : std::uint8_t { gpipe, one_forward_one_backward, interleaved, zb_h1 };

/// Which states live in host memory and cross the host link when they are needed.
struct Offload {
  bool optimizer = false;
  bool activations = false;
  bool weights = false;

  bool any() const { return optimizer || activations || weights; }
  bool operator==(const Offload&) const = default;
};

/// Offloaded optimizer states pass through the device while they are updated: those of so many
/// parameters together, in so many places (one comes, one is updated, one goes back).
inline constexpr std::int64_t offload_portion = std::int64_t{1} << 22;
inline constexpr std::int64_t offload_slots = 3;

/// Of how many parameters the device holds the states at once, where a rank's are offloaded.
constexpr std::int64_t offload_room(std::int64_t parameters,
                                    std::int64_t portion = offload_portion) {
  if (parameters <= portion) return parameters;
  const std::int64_t portions = (parameters + portion - 1) / portion;
  return portion * (portions < offload_slots ? portions : offload_slots);
}

/// What is trained, whatever the layout: the same job for every layout that is compared.
struct TrainingJob {
  TransformerShape model;
  std::int64_t seq_length = 0;
  std::int64_t global_batch_size = 0;  ///< sequences per step
  /// Vocabulary rows are padded to a multiple of this times tp, as Megatron does; 1 pads to tp.
  std::int64_t vocab_multiple = 1;
};

/// One way to lay a training job over devices: a value. search makes them; validate judges them;
/// the cost model, the simulator and the engine read them.
struct ParallelLayout {
  int tensor_parallel = 1;
  int pipeline_parallel = 1;
  int data_parallel = 1;
  int context_parallel = 1;
  int micro_batch_size = 1;
  ScheduleKind schedule = ScheduleKind::one_forward_one_backward;
  int virtual_stages_per_rank = 1;
  Recompute recompute = Recompute::none;
  bool sequence_parallel = false;
  int zero_stage = 0;
  int zero_group = 0;  ///< ranks that share the sharded states; 0: all of data x context parallel
  AttentionKernel attention = AttentionKernel::flash2;
  NormKernel norm = NormKernel::fused;
  Precision precision = Precision::bf16;
  Precision gradient_dtype = Precision::fp32;  ///< accumulation and reduction
  bool overlap_data_parallel = true;
  bool overlap_tensor_parallel = false;
  Offload offload;
  /// Transformer layers of each virtual stage, first to last; empty: even_layer_split.
  std::vector<int> layer_split;

  std::int64_t devices() const {
    return std::int64_t{tensor_parallel} * pipeline_parallel * data_parallel * context_parallel;
  }
  int virtual_stages() const { return pipeline_parallel * virtual_stages_per_rank; }
  int model_parallel() const { return tensor_parallel * pipeline_parallel; }

  bool operator==(const ParallelLayout&) const = default;
};

}  // namespace kumihimo
