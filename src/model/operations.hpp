#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/precision.hpp"
#include "model/kernels.hpp"
#include "model/transformer.hpp"

namespace kumihimo {

enum class OperationKind : std::uint8_t {
  matmul,       ///< dense product, bound by arithmetic
  attention,    ///< the attention core: scores, softmax, weighted values
  norm,         ///< RMSNorm or LayerNorm
  elementwise,  ///< bound by memory bandwidth: rotary, activation, residual, loss, casts
  loss,         ///< cross-entropy: passes over the logits, bound by memory bandwidth
  collective,   ///< nothing but communication
};

enum class CollectiveKind : std::uint8_t {
  none,
  all_reduce,
  all_gather,      ///< bytes: of the gathered result
  reduce_scatter,  ///< bytes: of the input
  send_receive,    ///< bytes: sent to (and received from) one neighbour
};

/// Which process group a layer's collective runs over.
enum class LayerAxis : std::uint8_t { tensor, context };

struct Collective {
  CollectiveKind kind = CollectiveKind::none;
  LayerAxis axis = LayerAxis::tensor;
  double bytes = 0;
};

/// What one pass of an operation costs on one rank, whatever the hardware.
struct Work {
  double flops = 0;    ///< really executed (causal kernels that skip masked blocks count half)
  double bytes = 0;    ///< read from and written to device memory
  double kernels = 0;  ///< launches
};

/// One operation of a layer for one micro-batch on one rank.
struct Operation {
  std::string_view name;
  OperationKind kind = OperationKind::elementwise;
  Precision precision = Precision::bf16;  ///< of the arithmetic
  Work forward;
  Work backward_input;   ///< gradient of the operation's input
  Work backward_weight;  ///< gradient of its weights; empty when there are none
  Collective forward_collective;
  Collective backward_collective;         ///< belongs to backward_input
  Collective backward_weight_collective;  ///< sequence parallel: inputs are gathered again
  double live_bytes = 0;   ///< activations that it reads and writes, alive while it runs
  double saved_bytes = 0;  ///< kept from forward for backward, when nothing is recomputed
  double pending_bytes =
      0;  ///< kept for a separate weight pass: the gradient of a product's output
  AttentionKernel attention = AttentionKernel::flash2;  ///< of an attention core
  NormKernel norm = NormKernel::fused;                  ///< of a norm
  double keys = 0;              ///< of an attention core: keys to a sequence that one kernel sees
  bool attention_core = false;  ///< computed again, not kept, under Recompute::selective
};

/// The share of a layer that one rank computes.
struct LayerShard {
  std::int64_t micro_batch_size = 1;
  std::int64_t seq_length = 0;
  std::int64_t vocab = 0;  ///< padded
  int tensor_parallel = 1;
  int context_parallel = 1;
  bool sequence_parallel = false;
  bool vocab_parallel_loss = true;  ///< false: logits are gathered and every tp rank holds them all
  bool attention_dropout_buffers = true;  ///< of attention that is not flash, at any dropout rate
  AttentionKernel attention = AttentionKernel::flash2;
  NormKernel norm = NormKernel::fused;
  Precision precision = Precision::bf16;

  /// Tokens of a micro-batch on this rank, before the split of sequence parallelism.
  double tokens() const {
    return static_cast<double>(micro_batch_size) * static_cast<double>(seq_length) /
           context_parallel;
  }
  /// Tokens of norms and residuals, which sequence parallelism splits.
  double norm_tokens() const { return tokens() / (sequence_parallel ? tensor_parallel : 1); }
};

/// The operations of one transformer layer, in forward order, with what each saves for backward.
/// Sources: Korthikanti et al. 2022 (arXiv:2205.05198) for tensor and sequence parallelism and for
/// what is kept; Dao 2023 (arXiv:2307.08691) for attention's work.
std::vector<Operation> layer_operations(const TransformerShape& shape, const LayerShard& shard);

/// Token (and position) look-up on the first stage; saved_bytes is 0: tokens are kept anyway.
std::vector<Operation> embedding_operations(const TransformerShape& shape, const LayerShard& shard);

/// Final norm, head and cross-entropy on the last stage. Logits are counted as saved.
std::vector<Operation> head_operations(const TransformerShape& shape, const LayerShard& shard);

/// Bytes that one pipeline rank sends to the next per micro-batch.
/// `scatter_gather`: each tensor-parallel rank sends its share and the receivers gather it
/// (arXiv:2104.04473 §4.1); under sequence parallelism the boundary is split anyway.
double boundary_bytes(const TransformerShape& shape, const LayerShard& shard, bool scatter_gather);

/// Bytes kept per layer when only the layer's input is kept (Recompute::full).
double layer_input_bytes(const TransformerShape& shape, const LayerShard& shard);

}  // namespace kumihimo
