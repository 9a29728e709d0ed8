#include "engine/language_head.hpp"

namespace kumihimo {

LanguageHead::LanguageHead(const ShardShape& shape, Kernels& kernels, Workspace& workspace,
                           const TensorParallel& tensor_parallel, float loss_scale)
    : shape_(shape),
      kernels_(kernels),
      workspace_(workspace),
      tensor_(tensor_parallel),
      loss_scale_(loss_scale) {}

NormSaved LanguageHead::norm_saved() const {
  NormSaved saved;
  saved.inverse_deviation = workspace_.take(shape_.norm_tokens, 1, DType::fp32);
  if (shape_.norm.kind == NormKind::layer_norm) {
    saved.mean = workspace_.take(shape_.norm_tokens, 1, DType::fp32);
  }
  if (shape_.norm.kernel == NormKernel::unfused) {
    saved.widened = workspace_.take(shape_.norm_tokens, shape_.hidden, DType::fp32);
    saved.normalised = workspace_.take(shape_.norm_tokens, shape_.hidden, shape_.dtype);
  }
  return saved;
}

/// Each rank's statistics over its part of the vocabulary, joined: one small collective.
Matrix LanguageHead::log_sum_exp(const Matrix& logits, const Matrix& targets,
                                 const Matrix& loss_sum) const {
  const int ranks = tensor_.group().size();
  const Matrix result = workspace_.take(shape_.tokens, 1, DType::fp32);
  const Workspace::Scope scope(workspace_);
  const Matrix all = workspace_.take(ranks * shape_.tokens, 3, DType::fp32);
  const Matrix own = rows_of(all, tensor_.group().rank() * shape_.tokens, shape_.tokens);
  kernels_.cross_entropy_statistics(logits, targets, shape_.vocab_first, shape_.vocab_valid, own);
  if (ranks > 1) tensor_.group().all_gather(own, all);
  kernels_.cross_entropy_combine(all, ranks, result, loss_sum);
  return result;
}

void LanguageHead::run(const Matrix& x, const Matrix& targets, const Weights& weights,
                       const Gradients& gradients, const Matrix& d_x,
                       const Matrix& loss_sum) const {
  const Workspace::Scope scope(workspace_);
  const NormSaved saved = norm_saved();
  const Matrix normed = workspace_.take(shape_.norm_tokens, shape_.hidden, shape_.dtype);
  kernels_.norm_forward(shape_.norm, x, weights.norm.weight, weights.norm.bias, normed, saved);
  const Matrix gathered = tensor_.gathered(normed);

  const Matrix logits = workspace_.take(shape_.tokens, shape_.vocab_rows, shape_.dtype);
  kernels_.matmul(gathered, Transpose::no, weights.head, Transpose::yes, logits, Accumulate::no);
  const Matrix normaliser = log_sum_exp(logits, targets, loss_sum);
  kernels_.cross_entropy_backward(logits, targets, shape_.vocab_first, shape_.vocab_valid,
                                  normaliser, loss_scale_);
  const Matrix& d_logits = logits;

  kernels_.matmul(d_logits, Transpose::yes, gathered, Transpose::no, gradients.head,
                  gradients.product);
  const Matrix d_normed = workspace_.take(shape_.tokens, shape_.hidden, shape_.dtype);
  kernels_.matmul(d_logits, Transpose::no, weights.head, Transpose::no, d_normed, Accumulate::no);
  kernels_.norm_backward(shape_.norm, x, weights.norm.weight, saved, tensor_.reduced(d_normed), {},
                         d_x, gradients.norm.weight, gradients.norm.bias);
}

}  // namespace kumihimo
