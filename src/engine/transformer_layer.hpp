#pragma once

#include "engine/layer_activations.hpp"
#include "engine/linear_products.hpp"
#include "engine/parameter_units.hpp"
#include "engine/shard_shape.hpp"
#include "engine/tensor_parallel.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo {

/// One pre-norm decoder layer on one tensor-parallel rank, for one micro-batch: forward and
/// backward are written out, there is no tape. What forward leaves for backward is the list of
/// layer_activations.hpp. Holds no state: weights, gradients and activations come with each call.
class TransformerLayer {
 public:
  /// `rotary_table`: as Kernels::rotate reads it; empty without rotary positions.
  TransformerLayer(const ShardShape& shape, int layer, Kernels& kernels, Workspace& workspace,
                   LinearProducts& products, const TensorParallel& tensor_parallel,
                   const Matrix& rotary_table);

  /// Reads saved[input], writes all other saved tensors and `output` [norm_tokens, hidden].
  void forward(const LayerParameters& weights, const LayerActivations& saved,
               const Matrix& output) const;

  /// Computes again what recompute has dropped. Call once before the backward pass of a layer.
  void recompute(const LayerParameters& weights, const LayerActivations& saved) const;

  /// d_input from d_output, both [norm_tokens, hidden], which may be the same memory. Sums the
  /// gradients of norms and row-parallel biases; with `with_weights`, all gradients. Without, keeps
  /// in saved.gradients what backward_weights needs.
  void backward(const LayerParameters& weights, const LayerActivations& saved,
                const LayerGradients& gradients, const Matrix& d_output, const Matrix& d_input,
                bool with_weights) const;

  /// The other half of a split backward pass: the gradients of the four products.
  void backward_weights(const LayerActivations& saved, const LayerGradients& gradients) const;

 private:
  void attention_half(const LayerParameters& weights, const LayerActivations& saved) const;
  void mlp_half(const LayerParameters& weights, const LayerActivations& saved) const;
  Matrix row_parallel(LinearRole role, const Matrix& x, const Matrix& weight,
                      const Matrix& bias) const;
  Matrix queries(const Matrix& qkv) const { return cols_of(qkv, 0, shape_.query_width()); }
  Matrix keys(const Matrix& qkv) const;
  Matrix values(const Matrix& qkv) const;
  void attention(const LayerActivations& saved) const;
  void rotate(const Matrix& qkv, bool inverse) const;
  LinearId id(LinearRole role) const { return {layer_, role}; }
  void add_bias_gradient(const Matrix& d_y, const Matrix& d_bias) const;

  const ShardShape& shape_;
  int layer_;  ///< of this rank
  Kernels& kernels_;
  Workspace& workspace_;
  LinearProducts& products_;
  const TensorParallel& tensor_;
  Matrix rotary_table_;
};

}  // namespace kumihimo
