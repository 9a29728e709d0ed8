#include "engine/layer_activations.hpp"

#include <cstddef>

namespace kumihimo {
namespace {

constexpr Bytes alignment = 64;

Bytes aligned(Bytes bytes) { return (bytes + alignment - 1) / alignment * alignment; }

bool is_norm_extra(Saved tensor) {
  return tensor == Saved::attention_norm_widened || tensor == Saved::attention_norm_normalised ||
         tensor == Saved::mlp_norm_widened || tensor == Saved::mlp_norm_normalised;
}

bool is_mean(Saved tensor) {
  return tensor == Saved::attention_norm_mean || tensor == Saved::mlp_norm_mean;
}

bool is_attention_core(Saved tensor) {
  return tensor == Saved::probabilities || tensor == Saved::log_sum_exp;
}

/// What the chosen kernels do not keep.
bool is_absent(const ShardShape& shape, Saved tensor) {
  if (is_norm_extra(tensor)) return shape.norm.kernel == NormKernel::fused;
  if (is_mean(tensor)) return shape.norm.kind == NormKind::rms_norm;
  if (tensor == Saved::probabilities) return is_flash(shape.attention);
  if (tensor == Saved::log_sum_exp) return !is_flash(shape.attention);
  return false;
}

bool is_product_input(Saved tensor) {
  return tensor == Saved::normed_input || tensor == Saved::attention_output ||
         tensor == Saved::normed_middle || tensor == Saved::activated;
}

/// Hands out consecutive pieces of a block.
class Cursor {
 public:
  explicit Cursor(void* block) : next_(static_cast<std::byte*>(block)) {}

  Matrix take(const TensorSize& size) {
    if (next_ == nullptr) return {};
    const Matrix matrix = matrix_at(next_, size.rows, size.cols, size.dtype);
    next_ += aligned(size.bytes());
    return matrix;
  }

 private:
  std::byte* next_;
};

}  // namespace

TensorSize size_of(const ShardShape& shape, Saved tensor) {
  const TensorSize residual{shape.norm_tokens, shape.hidden, shape.dtype};
  const TensorSize statistic{shape.norm_tokens, 1, DType::fp32};
  switch (tensor) {
    case Saved::input:
    case Saved::normed_input:
    case Saved::middle:
    case Saved::normed_middle:
    case Saved::attention_norm_normalised:
    case Saved::mlp_norm_normalised: return residual;
    case Saved::attention_norm_widened:
    case Saved::mlp_norm_widened: return {shape.norm_tokens, shape.hidden, DType::fp32};
    case Saved::attention_norm_deviation:
    case Saved::attention_norm_mean:
    case Saved::mlp_norm_deviation:
    case Saved::mlp_norm_mean: return statistic;
    case Saved::qkv: return {shape.tokens, shape.qkv_width(), shape.dtype};
    case Saved::probabilities: return {shape.tokens * shape.heads, shape.seq_length, shape.dtype};
    case Saved::log_sum_exp: return {shape.tokens, shape.heads, DType::fp32};
    case Saved::attention_output: return {shape.tokens, shape.query_width(), shape.dtype};
    case Saved::up: return {shape.tokens, shape.up_width(), shape.dtype};
    case Saved::activated: return {shape.tokens, shape.ffn_hidden, shape.dtype};
  }
  return {};
}

TensorSize size_of(const ShardShape& shape, Pending tensor) {
  switch (tensor) {
    case Pending::output:
    case Pending::middle: return size_of(shape, Saved::input);
    case Pending::up: return size_of(shape, Saved::up);
    case Pending::qkv: return size_of(shape, Saved::qkv);
  }
  return {};
}

Lifetime lifetime_of(const ShardShape& shape, Saved tensor, bool split_backward) {
  if (is_absent(shape, tensor)) return Lifetime::absent;
  switch (shape.recompute) {
    case Recompute::none: return Lifetime::kept;
    case Recompute::selective:
      return is_attention_core(tensor) ? Lifetime::scratch : Lifetime::kept;
    case Recompute::full:
      if (tensor == Saved::input) return Lifetime::kept;
      return split_backward && is_product_input(tensor) ? Lifetime::pending : Lifetime::scratch;
  }
  return Lifetime::kept;
}

Bytes block_bytes(const ShardShape& shape, Lifetime lifetime, bool split_backward) {
  Bytes bytes = 0;
  for (int i = 0; i < saved_count; ++i) {
    const auto tensor = static_cast<Saved>(i);
    if (lifetime_of(shape, tensor, split_backward) == lifetime) {
      bytes += aligned(size_of(shape, tensor).bytes());
    }
  }
  if (lifetime == Lifetime::pending && split_backward) {
    for (int i = 0; i < pending_count; ++i) {
      bytes += aligned(size_of(shape, static_cast<Pending>(i)).bytes());
    }
  }
  return bytes;
}

NormSaved LayerActivations::attention_norm() const {
  return {(*this)[Saved::attention_norm_deviation], (*this)[Saved::attention_norm_mean],
          (*this)[Saved::attention_norm_widened], (*this)[Saved::attention_norm_normalised]};
}

NormSaved LayerActivations::mlp_norm() const {
  return {(*this)[Saved::mlp_norm_deviation], (*this)[Saved::mlp_norm_mean],
          (*this)[Saved::mlp_norm_widened], (*this)[Saved::mlp_norm_normalised]};
}

AttentionSaved LayerActivations::attention() const {
  return {(*this)[Saved::probabilities], (*this)[Saved::log_sum_exp]};
}

LayerActivations bind_activations(const ShardShape& shape, bool split_backward,
                                  const LayerBlocks& blocks) {
  LayerActivations activations;
  Cursor kept(blocks.kept), scratch(blocks.scratch), pending(blocks.pending);
  for (int i = 0; i < saved_count; ++i) {
    const auto tensor = static_cast<Saved>(i);
    Matrix& matrix = activations.tensors[static_cast<std::size_t>(i)];
    switch (lifetime_of(shape, tensor, split_backward)) {
      case Lifetime::absent: break;
      case Lifetime::kept: matrix = kept.take(size_of(shape, tensor)); break;
      case Lifetime::scratch: matrix = scratch.take(size_of(shape, tensor)); break;
      case Lifetime::pending: matrix = pending.take(size_of(shape, tensor)); break;
    }
  }
  if (split_backward) {
    for (int i = 0; i < pending_count; ++i) {
      activations.gradients[static_cast<std::size_t>(i)] =
          pending.take(size_of(shape, static_cast<Pending>(i)));
    }
  }
  return activations;
}

}  // namespace kumihimo
