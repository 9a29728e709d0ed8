#include "engine/transformer_layer.hpp"

namespace kumihimo {

TransformerLayer::TransformerLayer(const ShardShape& shape, int layer, Kernels& kernels,
                                   Workspace& workspace, LinearProducts& products,
                                   const TensorParallel& tensor_parallel,
                                   const Matrix& rotary_table)
    : shape_(shape),
      layer_(layer),
      kernels_(kernels),
      workspace_(workspace),
      products_(products),
      tensor_(tensor_parallel),
      rotary_table_(rotary_table) {}

Matrix TransformerLayer::keys(const Matrix& qkv) const {
  return cols_of(qkv, shape_.query_width(), shape_.kv_heads * shape_.head_dim);
}

Matrix TransformerLayer::values(const Matrix& qkv) const {
  const std::int64_t width = shape_.kv_heads * shape_.head_dim;
  return cols_of(qkv, shape_.query_width() + width, width);
}

void TransformerLayer::rotate(const Matrix& qkv, bool inverse) const {
  if (rotary_table_.empty()) return;
  kernels_.rotate(qkv, shape_.heads + shape_.kv_heads, shape_.head_dim, shape_.seq_length,
                  rotary_table_, inverse);
}

void TransformerLayer::attention(const LayerActivations& saved) const {
  const Matrix& qkv = saved[Saved::qkv];
  kernels_.attention_forward(shape_.attention_shape(), queries(qkv), keys(qkv), values(qkv),
                             saved[Saved::attention_output], saved.attention());
}

// --- Forward

/// A product whose columns of `weight` are split over the ranks: their results are summed.
Matrix TransformerLayer::row_parallel(LinearRole role, const Matrix& x, const Matrix& weight,
                                      const Matrix& bias) const {
  const Matrix partial = workspace_.take(shape_.tokens, shape_.hidden, shape_.dtype);
  const bool alone = tensor_.group().size() == 1;  // else the bias would be added by every rank
  products_.forward(id(role), x, weight, alone ? bias : Matrix{}, partial);
  const Matrix sum = tensor_.reduced(partial);
  if (!alone && !bias.empty()) kernels_.add_bias(sum, bias);
  return sum;
}

/// From the layer's input to the normed middle of the residual stream.
void TransformerLayer::attention_half(const LayerParameters& weights,
                                      const LayerActivations& saved) const {
  const Workspace::Scope scope(workspace_);
  kernels_.norm_forward(shape_.norm, saved[Saved::input], weights.attention_norm,
                        weights.attention_norm_bias, saved[Saved::normed_input],
                        saved.attention_norm());
  products_.forward(id(LinearRole::qkv), tensor_.gathered(saved[Saved::normed_input]), weights.qkv,
                    weights.qkv_bias, saved[Saved::qkv]);
  rotate(saved[Saved::qkv], false);
  attention(saved);
  const Matrix delta = row_parallel(LinearRole::output, saved[Saved::attention_output],
                                    weights.output, weights.output_bias);
  kernels_.add_norm_forward(shape_.norm, saved[Saved::input], delta, weights.mlp_norm,
                            weights.mlp_norm_bias, saved[Saved::middle],
                            saved[Saved::normed_middle], saved.mlp_norm());
}

/// From there to the input of the down product.
void TransformerLayer::mlp_half(const LayerParameters& weights,
                                const LayerActivations& saved) const {
  const Workspace::Scope scope(workspace_);
  products_.forward(id(LinearRole::up), tensor_.gathered(saved[Saved::normed_middle]), weights.up,
                    weights.up_bias, saved[Saved::up]);
  if (shape_.activation == Activation::swiglu) {
    kernels_.swiglu_forward(saved[Saved::up], saved[Saved::activated]);
  } else {
    kernels_.gelu_forward(saved[Saved::up], saved[Saved::activated]);
  }
}

void TransformerLayer::forward(const LayerParameters& weights, const LayerActivations& saved,
                               const Matrix& output) const {
  attention_half(weights, saved);
  mlp_half(weights, saved);
  const Workspace::Scope scope(workspace_);
  const Matrix delta =
      row_parallel(LinearRole::down, saved[Saved::activated], weights.down, weights.down_bias);
  kernels_.add(saved[Saved::middle], delta, output);
}

void TransformerLayer::recompute(const LayerParameters& weights,
                                 const LayerActivations& saved) const {
  switch (shape_.recompute) {
    case Recompute::none: return;
    case Recompute::selective: attention(saved); return;
    case Recompute::full:
      attention_half(weights, saved);
      mlp_half(weights, saved);  // the layer's output is not needed again
      return;
  }
}

// --- Backward

void TransformerLayer::add_bias_gradient(const Matrix& d_y, const Matrix& d_bias) const {
  if (!d_bias.empty()) kernels_.bias_backward(d_y, d_bias);
}

void TransformerLayer::backward(const LayerParameters& weights, const LayerActivations& saved,
                                const LayerGradients& gradients, const Matrix& d_output,
                                const Matrix& d_input, bool with_weights) const {
  const Workspace::Scope scope(workspace_);
  const auto pending_or_temporary = [&](Pending tensor) {
    if (!with_weights) return saved[tensor];
    const TensorSize size = size_of(shape_, tensor);
    return workspace_.take(size.rows, size.cols, size.dtype);
  };
  // From d_y to d_x and, unless that is for later, to d_weight. `input()`: x, which may have to be
  // gathered first.
  const auto through_product = [&](LinearRole role, const Matrix& d_y, const Matrix& weight,
                                   const Matrix& d_x, const auto& input, const Matrix& d_weight) {
    const Workspace::Scope product(workspace_);
    const OutputGradient shared = products_.output_gradient(
        id(role), d_y, with_weights ? GradientOf::both : GradientOf::input);
    products_.input_gradient(id(role), shared, weight, d_x);
    if (with_weights) {
      products_.weight_gradient(id(role), shared, input(), d_weight, gradients.products);
    }
  };

  // MLP. The biases of row-parallel products see each token once: on the rank that holds it.
  const Matrix d_middle = pending_or_temporary(Pending::middle);
  {
    const Workspace::Scope mlp(workspace_);
    const Matrix d_up = pending_or_temporary(Pending::up);
    const Matrix d_normed = workspace_.take(shape_.tokens, shape_.hidden, shape_.dtype);
    {
      const Workspace::Scope inner(workspace_);
      const Matrix d_down = tensor_.gathered(d_output);
      const Matrix d_activated = workspace_.take(shape_.tokens, shape_.ffn_hidden, shape_.dtype);
      through_product(
          LinearRole::down, d_down, weights.down, d_activated,
          [&] { return saved[Saved::activated]; }, gradients.down);
      add_bias_gradient(d_output, gradients.down_bias);
      if (!with_weights) kernels_.copy(d_output, saved[Pending::output]);
      if (shape_.activation == Activation::swiglu) {
        kernels_.swiglu_backward(saved[Saved::up], d_activated, d_up);
      } else {
        kernels_.gelu_backward(saved[Saved::up], d_activated, d_up);
      }
    }
    through_product(
        LinearRole::up, d_up, weights.up, d_normed,
        [&] { return tensor_.gathered(saved[Saved::normed_middle]); }, gradients.up);
    if (with_weights) add_bias_gradient(d_up, gradients.up_bias);
    kernels_.norm_backward(shape_.norm, saved[Saved::middle], weights.mlp_norm, saved.mlp_norm(),
                           tensor_.reduced(d_normed), d_output, d_middle, gradients.mlp_norm,
                           gradients.mlp_norm_bias);
  }

  // Attention.
  const Matrix d_qkv = pending_or_temporary(Pending::qkv);
  const Matrix d_normed = workspace_.take(shape_.tokens, shape_.hidden, shape_.dtype);
  {
    const Workspace::Scope inner(workspace_);
    const Matrix d_sum = tensor_.gathered(d_middle);
    const Matrix d_attention = workspace_.take(shape_.tokens, shape_.query_width(), shape_.dtype);
    through_product(
        LinearRole::output, d_sum, weights.output, d_attention,
        [&] { return saved[Saved::attention_output]; }, gradients.output);
    add_bias_gradient(d_middle, gradients.output_bias);
    const Matrix& qkv = saved[Saved::qkv];
    kernels_.attention_backward(shape_.attention_shape(), queries(qkv), keys(qkv), values(qkv),
                                saved[Saved::attention_output], saved.attention(), d_attention,
                                queries(d_qkv), keys(d_qkv), values(d_qkv));
  }
  rotate(d_qkv, true);
  through_product(
      LinearRole::qkv, d_qkv, weights.qkv, d_normed,
      [&] { return tensor_.gathered(saved[Saved::normed_input]); }, gradients.qkv);
  if (with_weights) add_bias_gradient(d_qkv, gradients.qkv_bias);
  kernels_.norm_backward(shape_.norm, saved[Saved::input], weights.attention_norm,
                         saved.attention_norm(), tensor_.reduced(d_normed), d_middle, d_input,
                         gradients.attention_norm, gradients.attention_norm_bias);
}

void TransformerLayer::backward_weights(const LayerActivations& saved,
                                        const LayerGradients& gradients) const {
  const auto add = [&](LinearRole role, const Matrix& d_y, const Matrix& x, const Matrix& d_weight,
                       const Matrix& d_bias) {
    const Workspace::Scope scope(workspace_);
    products_.weight_gradient(id(role),
                              products_.output_gradient(id(role), d_y, GradientOf::weight), x,
                              d_weight, gradients.products);
    add_bias_gradient(d_y, d_bias);
  };
  // The order of backward(): sums over a layer's products do not depend on it, traces read better.
  const Workspace::Scope scope(workspace_);
  add(LinearRole::down, tensor_.gathered(saved[Pending::output]), saved[Saved::activated],
      gradients.down, {});
  add(LinearRole::up, saved[Pending::up], tensor_.gathered(saved[Saved::normed_middle]),
      gradients.up, gradients.up_bias);
  add(LinearRole::output, tensor_.gathered(saved[Pending::middle]), saved[Saved::attention_output],
      gradients.output, {});
  add(LinearRole::qkv, saved[Pending::qkv], tensor_.gathered(saved[Saved::normed_input]),
      gradients.qkv, gradients.qkv_bias);
}

}  // namespace kumihimo
