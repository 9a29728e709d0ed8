#pragma once

#include <array>
#include <cstdint>

#include "engine/shard_shape.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo {

/// Every tensor that a layer's forward pass leaves for its backward pass: the declared list, which
/// model/operations.hpp counts too. In forward order.
enum class Saved : std::uint8_t {
  input,
  attention_norm_deviation,
  attention_norm_mean,
  attention_norm_widened,
  attention_norm_normalised,
  normed_input,  ///< of the qkv product
  qkv,           ///< queries and keys rotated
  probabilities,
  log_sum_exp,
  attention_output,
  middle,  ///< the residual stream between attention and MLP
  mlp_norm_deviation,
  mlp_norm_mean,
  mlp_norm_widened,
  mlp_norm_normalised,
  normed_middle,  ///< of the up product
  up,             ///< gate beside up
  activated,      ///< of the down product
};
inline constexpr int saved_count = static_cast<int>(Saved::activated) + 1;

/// Gradients that wait for a separate weight pass (zero-bubble): those of the four products'
/// outputs.
enum class Pending : std::uint8_t { output, up, middle, qkv };
inline constexpr int pending_count = 4;

/// Where a saved tensor lives.
enum class Lifetime : std::uint8_t {
  absent,   ///< the kernels chosen keep no such thing
  kept,     ///< from the forward pass until the layer's last backward pass
  scratch,  ///< computed again at the start of the backward pass: one copy a rank
  pending,  ///< computed again, and needed by a separate weight pass
};

struct TensorSize {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  DType dtype = DType::fp32;

  Bytes bytes() const { return rows * cols * bytes_of(dtype); }
};

TensorSize size_of(const ShardShape& shape, Saved tensor);
TensorSize size_of(const ShardShape& shape, Pending tensor);

/// `split_backward`: the schedule has separate weight passes.
Lifetime lifetime_of(const ShardShape& shape, Saved tensor, bool split_backward);

/// Bytes of one layer's block of that lifetime; tensors start at multiples of 64 bytes.
Bytes block_bytes(const ShardShape& shape, Lifetime lifetime, bool split_backward);

/// One layer's saved tensors of one micro-batch, wherever each lives.
struct LayerActivations {
  std::array<Matrix, saved_count> tensors{};
  std::array<Matrix, pending_count> gradients{};  ///< empty without a separate weight pass

  const Matrix& operator[](Saved tensor) const { return tensors[static_cast<std::size_t>(tensor)]; }
  const Matrix& operator[](Pending tensor) const {
    return gradients[static_cast<std::size_t>(tensor)];
  }
  NormSaved attention_norm() const;
  NormSaved mlp_norm() const;
  AttentionSaved attention() const;
};

/// Blocks may be null where nothing of that lifetime is touched: `pending` in a forward pass.
struct LayerBlocks {
  void* kept = nullptr;
  void* scratch = nullptr;
  void* pending = nullptr;
};
LayerActivations bind_activations(const ShardShape& shape, bool split_backward,
                                  const LayerBlocks& blocks);

}  // namespace kumihimo
