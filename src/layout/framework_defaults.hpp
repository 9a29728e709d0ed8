#pragma once

#include <cstdint>

#include "base/precision.hpp"
#include "model/kernels.hpp"

namespace kumihimo {

/// What pipeline stages share evenly: the transformer layers; the blocks, embedding and head among
/// them, as if all were alike; or the parameters, the table, which is looked up only, left out.
enum class LayerBalance : std::uint8_t { layers, blocks, parameters };

/// What a framework does where its user, or a published row about it, says nothing. A fact about
/// the software, so it stands in the stack profile.
struct FrameworkDefaults {
  Recompute recompute = Recompute::none;
  AttentionKernel attention = AttentionKernel::flash2;
  NormKernel norm = NormKernel::fused;
  Precision precision = Precision::bf16;
  Precision gradient_dtype = Precision::fp32;  ///< accumulation and reduction
  int zero_stage = 1;
  bool sequence_parallel = false;
  bool overlap_data_parallel = true;
  bool overlap_tensor_parallel = false;
  bool vocab_parallel_loss = true;  ///< false: every tensor-parallel rank holds all logits
  /// Attention that is not flash keeps scores after dropout and its mask, at rate 0 too.
  bool attention_dropout_buffers = true;
  /// Tensor-parallel ranks each send a share to the next stage.
  bool scatter_gather_boundary = false;
  /// Full recompute computes the last stage's head and loss again, too.
  bool recompute_head = false;
  /// Each layer's offloaded optimizer states are updated just before the next step's forward pass
  /// needs it, so that their copies run behind the layers before it. DeepSpeed's ZeRO-Offload, by
  /// default, ends a step with them.
  bool offloaded_update_behind_forward = false;
  /// Where data-parallel communication overlaps, weights that ZeRO-1 has updated are gathered
  /// behind the next step's first forward passes, as Megatron-LM's --overlap-param-gather does.
  bool weight_gathering_behind_forward = false;
  LayerBalance layer_balance = LayerBalance::layers;
  std::int64_t vocab_multiple = 1;

  bool operator==(const FrameworkDefaults&) const = default;
};

}  // namespace kumihimo
