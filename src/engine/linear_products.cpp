#include "engine/linear_products.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace kumihimo {
namespace {

DType format_of(Fp8Operand operand) {
  return operand == Fp8Operand::output_gradient ? DType::fp8_e5m2 : DType::fp8_e4m3;
}

float largest_of(DType format) { return format == DType::fp8_e5m2 ? 57344.0f : 448.0f; }

/// A power of two, so that scaling itself rounds nothing.
float scale_for(float amax, DType format) {
  if (!(amax > 0) || !std::isfinite(amax)) return 1;
  return std::exp2(std::floor(std::log2(largest_of(format) / amax)));
}

Fp8Operand operand_at(std::size_t index) {
  return static_cast<Fp8Operand>(index % static_cast<std::size_t>(fp8_operands));
}

}  // namespace

LinearProducts::LinearProducts(Kernels& kernels, Workspace& workspace, Precision precision,
                               const Fp8Options& options, int layers, std::vector<bool> bf16_layers)
    : kernels_(kernels),
      workspace_(workspace),
      precision_(precision),
      options_(options),
      bf16_layers_(std::move(bf16_layers)) {
  if (uses_fp8()) tensors_.resize(static_cast<std::size_t>(layers * linear_roles * fp8_operands));
}

bool LinearProducts::in_fp8(LinearId id) const {
  return uses_fp8() && !bf16_layers_[static_cast<std::size_t>(id.layer)];
}

Fp8Tensor& LinearProducts::mutable_tensor(LinearId id, Fp8Operand operand) {
  const int product = id.layer * linear_roles + static_cast<int>(id.role);
  return tensors_[static_cast<std::size_t>(product * fp8_operands + static_cast<int>(operand))];
}

const Fp8Tensor& LinearProducts::tensor(LinearId id, Fp8Operand operand) const {
  return const_cast<LinearProducts*>(this)->mutable_tensor(id, operand);
}

LinearProducts::Cast LinearProducts::cast(LinearId id, Fp8Operand operand, const Matrix& x) {
  Fp8Tensor& tensor = mutable_tensor(id, operand);
  const DType format = format_of(operand);
  const float amax = kernels_.absolute_maximum(x);
  if (amax > tensor.amax || std::isnan(amax)) tensor.amax = amax;  // keeps a NaN
  const bool delayed = options_.scaling == Fp8Scaling::delayed && tensor.has_scale;
  const float scale = delayed ? tensor.scale : scale_for(amax, format);
  const Matrix values = workspace_.take(x.rows, x.cols, format);
  const Fp8CastCounts counts = kernels_.cast_to_fp8(x, scale, values);
  tensor.counts.elements += counts.elements;
  tensor.counts.overflowed += counts.overflowed;
  tensor.counts.underflowed += counts.underflowed;
  return {values, 1 / scale};
}

void LinearProducts::forward(LinearId id, const Matrix& x, const Matrix& w, const Matrix& y) {
  if (!in_fp8(id)) {
    kernels_.matmul(x, Transpose::no, w, Transpose::yes, y, Accumulate::no);
    return;
  }
  const Workspace::Scope scope(workspace_);
  const Cast a = cast(id, Fp8Operand::input, x), b = cast(id, Fp8Operand::weight, w);
  kernels_.matmul(a.values, Transpose::no, b.values, Transpose::yes, y, Accumulate::no,
                  a.inverse_scale * b.inverse_scale);
}

void LinearProducts::input_gradient(LinearId id, const Matrix& d_y, const Matrix& w,
                                    const Matrix& d_x) {
  if (!in_fp8(id)) {
    kernels_.matmul(d_y, Transpose::no, w, Transpose::no, d_x, Accumulate::no);
    return;
  }
  const Workspace::Scope scope(workspace_);
  const Cast a = cast(id, Fp8Operand::output_gradient, d_y), b = cast(id, Fp8Operand::weight, w);
  kernels_.matmul(a.values, Transpose::no, b.values, Transpose::no, d_x, Accumulate::no,
                  a.inverse_scale * b.inverse_scale);
}

void LinearProducts::weight_gradient(LinearId id, const Matrix& d_y, const Matrix& x,
                                     const Matrix& d_w) {
  if (!in_fp8(id)) {
    kernels_.matmul(d_y, Transpose::yes, x, Transpose::no, d_w, Accumulate::yes);
    return;
  }
  const Workspace::Scope scope(workspace_);
  const Cast a = cast(id, Fp8Operand::output_gradient, d_y), b = cast(id, Fp8Operand::input, x);
  kernels_.matmul(a.values, Transpose::yes, b.values, Transpose::no, d_w, Accumulate::yes,
                  a.inverse_scale * b.inverse_scale);
}

std::vector<float> LinearProducts::step_maxima() const {
  std::vector<float> maxima;
  maxima.reserve(tensors_.size());
  for (const Fp8Tensor& tensor : tensors_) maxima.push_back(tensor.amax);
  return maxima;
}

void LinearProducts::set_scale(Fp8Tensor& tensor, std::size_t index) {
  if (tensor.history.empty()) return;
  tensor.scale = scale_for(std::ranges::max(tensor.history), format_of(operand_at(index)));
  tensor.has_scale = true;
}

void LinearProducts::end_step(const std::vector<float>& maxima) {
  KUMIHIMO_CHECK(maxima.size() == tensors_.size());
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    Fp8Tensor& tensor = tensors_[i];
    tensor.history.push_front(maxima[i]);
    if (std::ssize(tensor.history) > options_.amax_history) tensor.history.pop_back();
    set_scale(tensor, i);
    tensor.amax = 0;
    tensor.last_counts = std::exchange(tensor.counts, {});
  }
}

std::vector<float> LinearProducts::histories() const {
  std::vector<float> all;
  for (const Fp8Tensor& tensor : tensors_) {
    for (int step = 0; step < options_.amax_history; ++step) {
      const bool known = step < std::ssize(tensor.history);
      all.push_back(known ? tensor.history[static_cast<std::size_t>(step)] : -1.0f);
    }
  }
  return all;
}

void LinearProducts::set_histories(const std::vector<float>& histories) {
  const auto length = static_cast<std::size_t>(options_.amax_history);
  KUMIHIMO_CHECK(histories.size() == tensors_.size() * length);
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    tensors_[i].history.clear();
    for (std::size_t step = 0; step < length; ++step) {
      const float amax = histories[i * length + step];
      if (amax >= 0) tensors_[i].history.push_back(amax);
    }
    set_scale(tensors_[i], i);
  }
}

}  // namespace kumihimo
