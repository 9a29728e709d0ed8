#include "engine/linear_products.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "tensor/fp8_cast.hpp"

namespace kumihimo {
namespace {

DType format_of(Fp8Operand operand) {
  return operand == Fp8Operand::output_gradient ? DType::fp8_e5m2 : DType::fp8_e4m3;
}

constexpr std::int64_t scale_parts = 2;  ///< Fp8Cast::scales
constexpr std::int64_t count_parts = 3;  ///< Fp8Cast::counts

Fp8Operand operand_at(std::size_t index) {
  return static_cast<Fp8Operand>(index % static_cast<std::size_t>(fp8_operands));
}

}  // namespace

LinearProducts::LinearProducts(Kernels& kernels, DeviceMemory& memory, Workspace& workspace,
                               Precision precision, const Fp8Options& options, int layers,
                               std::vector<bool> bf16_layers)
    : kernels_(kernels),
      workspace_(workspace),
      precision_(precision),
      options_(options),
      bf16_layers_(std::move(bf16_layers)) {
  if (!uses_fp8()) return;
  tensors_.resize(static_cast<std::size_t>(layers * linear_roles * fp8_operands));
  const auto buffer = [&](std::int64_t bytes_a_tensor) {
    return Buffer(memory, MemoryCategory::workspace, std::ssize(tensors_) * bytes_a_tensor);
  };
  scales_ = buffer(scale_parts * bytes_of(DType::fp32));
  seen_ = buffer(count_parts * bytes_of(DType::fp64) + bytes_of(DType::fp32));
}

Matrix LinearProducts::scales() const {
  return matrix_at(scales_.data(), std::ssize(tensors_), scale_parts, DType::fp32);
}

Matrix LinearProducts::counts() const {
  return matrix_at(seen_.data(), std::ssize(tensors_), count_parts, DType::fp64);
}

Matrix LinearProducts::step_maxima() const {
  auto* const bytes = static_cast<std::byte*>(seen_.data());
  return matrix_at(bytes + counts().bytes(), 1, std::ssize(tensors_), DType::fp32);
}

bool LinearProducts::in_fp8(LinearId id) const {
  return uses_fp8() && !bf16_layers_[static_cast<std::size_t>(id.layer)];
}

std::size_t LinearProducts::index_of(LinearId id, Fp8Operand operand) const {
  const int product = id.layer * linear_roles + static_cast<int>(id.role);
  return static_cast<std::size_t>(product * fp8_operands + static_cast<int>(operand));
}

const Fp8Tensor& LinearProducts::tensor(LinearId id, Fp8Operand operand) const {
  return tensors_[index_of(id, operand)];
}

Matrix LinearProducts::cast(LinearId id, Fp8Operand kind, const Matrix& values,
                            const Fp8Codes& codes) {
  const std::size_t index = index_of(id, kind);
  const auto row = static_cast<std::int64_t>(index);
  const Fp8Cast cast{rows_of(scales(), row, 1), cols_of(step_maxima(), row, 1),
                     rows_of(counts(), row, 1)};
  const bool delayed = options_.scaling == Fp8Scaling::delayed && tensors_[index].has_scale;
  if (!delayed) kernels_.fp8_scales(values, format_of(kind), cast.scales);
  kernels_.cast_to_fp8(values, cast, codes);
  return cols_of(cast.scales, 1, 1);
}

LinearProducts::Operand LinearProducts::prepared(LinearId id, Fp8Operand kind, const Matrix& values,
                                                 Transpose transpose, Transpose along_rows) {
  if (!in_fp8(id)) return {values, transpose};
  const bool turned = kernels_.sums_fp8_along_rows() && transpose != along_rows;
  const DType format = format_of(kind);
  const Matrix codes = turned ? workspace_.take(values.cols, values.rows, format)
                              : workspace_.take(values.rows, values.cols, format);
  const Matrix inverse_scale =
      cast(id, kind, values, turned ? Fp8Codes{.transposed = codes} : Fp8Codes{.straight = codes});
  return {codes, turned ? along_rows : transpose, inverse_scale};
}

OutputGradient LinearProducts::output_gradient(LinearId id, const Matrix& d_y, GradientOf wanted) {
  if (!in_fp8(id)) return {d_y};
  const bool turned = kernels_.sums_fp8_along_rows() && wanted != GradientOf::input;
  const DType format = format_of(Fp8Operand::output_gradient);
  OutputGradient result;
  if (turned) result.transposed = workspace_.take(d_y.cols, d_y.rows, format);
  if (!turned || wanted == GradientOf::both) {
    result.values = workspace_.take(d_y.rows, d_y.cols, format);
  }
  result.inverse_scale =
      cast(id, Fp8Operand::output_gradient, d_y, {result.values, result.transposed});
  return result;
}

void LinearProducts::multiply(const Operand& a, const Operand& b, const Matrix& c,
                              Accumulate accumulate, const Matrix& bias) {
  ProductEpilogue epilogue;
  epilogue.bias = bias;
  epilogue.scale_a = a.inverse_scale;
  epilogue.scale_b = b.inverse_scale;
  kernels_.matmul(a.values, a.transpose, b.values, b.transpose, c, accumulate, epilogue);
}

void LinearProducts::forward(LinearId id, const Matrix& x, const Matrix& w, const Matrix& bias,
                             const Matrix& y) {
  const Workspace::Scope scope(workspace_);
  const Operand a = prepared(id, Fp8Operand::input, x, Transpose::no, Transpose::no);
  const Operand b = prepared(id, Fp8Operand::weight, w, Transpose::yes, Transpose::yes);
  multiply(a, b, y, Accumulate::no, bias);
}

void LinearProducts::input_gradient(LinearId id, const OutputGradient& d_y, const Matrix& w,
                                    const Matrix& d_x) {
  const Workspace::Scope scope(workspace_);
  const Operand b = prepared(id, Fp8Operand::weight, w, Transpose::no, Transpose::yes);
  multiply({d_y.values, Transpose::no, d_y.inverse_scale}, b, d_x, Accumulate::no);
}

void LinearProducts::weight_gradient(LinearId id, const OutputGradient& d_y, const Matrix& x,
                                     const Matrix& d_w, Accumulate accumulate) {
  const Workspace::Scope scope(workspace_);
  const Operand a = d_y.transposed.empty()
                        ? Operand{d_y.values, Transpose::yes, d_y.inverse_scale}
                        : Operand{d_y.transposed, Transpose::no, d_y.inverse_scale};
  const Operand b = prepared(id, Fp8Operand::input, x, Transpose::no, Transpose::yes);
  multiply(a, b, d_w, accumulate);
}

void LinearProducts::set_scale(std::size_t index) {
  Fp8Tensor& tensor = tensors_[index];
  if (tensor.history.empty()) return;
  const Fp8Format& format = fp8_format_of(format_of(operand_at(index)));
  tensor.scale = fp8_scale(format, std::ranges::max(tensor.history));
  tensor.has_scale = true;
}

/// For casts that do not set them themselves.
void LinearProducts::upload_scales() {
  if (tensors_.empty() || options_.scaling != Fp8Scaling::delayed) return;
  std::vector<float> values;
  for (const Fp8Tensor& tensor : tensors_) {
    values.push_back(tensor.scale);
    values.push_back(1 / tensor.scale);
  }
  kernels_.upload(values.data(), scales());
}

void LinearProducts::end_step() {
  if (tensors_.empty()) return;
  // Counts and maxima in one piece: the device is waited for once.
  const Matrix seen = matrix_at(seen_.data(), 1, seen_.size() / bytes_of(DType::fp32), DType::fp32);
  std::vector<std::byte> bytes(static_cast<std::size_t>(seen.bytes()));
  kernels_.download(seen, bytes.data());
  kernels_.fill(seen, 0);
  const std::byte* next = bytes.data();
  const auto take = [&](auto value) {
    std::memcpy(&value, next, sizeof value);
    next += sizeof value;
    return value;
  };
  for (Fp8Tensor& tensor : tensors_) {
    for (std::int64_t* count : {&tensor.last_counts.elements, &tensor.last_counts.overflowed,
                                &tensor.last_counts.underflowed}) {
      *count = static_cast<std::int64_t>(take(double{}));
    }
  }
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    Fp8Tensor& tensor = tensors_[i];
    tensor.history.push_front(take(float{}));
    if (std::ssize(tensor.history) > options_.amax_history) tensor.history.pop_back();
    set_scale(i);
  }
  upload_scales();
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
    set_scale(i);
  }
  upload_scales();
}

}  // namespace kumihimo
