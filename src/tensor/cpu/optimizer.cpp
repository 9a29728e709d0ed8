#include <algorithm>

#include "base/check.hpp"
#include "tensor/cpu/cpu_kernels.hpp"
#include "tensor/cpu/elements.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/optimizer.cpp"
#include <hwy/foreach_target.h>
// After the line above, which includes this file again for each instruction set.
#include "tensor/cpu/vectors-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kumihimo::cpu::HWY_NAMESPACE {

/// Writes updated weights beside the master ones, if there is a separate copy.
HWY_INLINE void write_weights(const Matrix& weights, std::size_t i, const auto& io, Floats w) {
  if (weights.empty()) return;
  if (weights.dtype == DType::fp32) {
    io.store(w, static_cast<float*>(weights.data) + i);
  } else {
    io.store(w, static_cast<std::uint16_t*>(weights.data) + i);
  }
}

void adamw_row(const AdamW& step, const Matrix& gradient, const Matrix& master, const Matrix& m,
               const Matrix& v, const Matrix& weights) {
  const float* gs = row_of<float>(gradient, 0);
  float* ws = row_of<float>(master, 0);
  float* ms = row_of<float>(m, 0);
  float* vs = row_of<float>(v, 0);
  const Floats scale = all(step.gradient_scale);
  const Floats beta1 = all(step.beta1), rest1 = all(1 - step.beta1);
  const Floats beta2 = all(step.beta2), rest2 = all(1 - step.beta2);
  const Floats unbias1 = all(1 / step.correction1), unbias2 = all(1 / step.correction2);
  const Floats keep = all(1 - step.learning_rate * step.weight_decay);
  const Floats rate = all(step.learning_rate), epsilon = all(step.epsilon);
  over(master.cols, [&](std::size_t i, auto io) HWY_ATTR {
    const Floats g = hn::Mul(io.load(gs + i), scale);
    const Floats first = hn::MulAdd(beta1, io.load(ms + i), hn::Mul(rest1, g));
    const Floats second = hn::MulAdd(beta2, io.load(vs + i), hn::Mul(rest2, hn::Mul(g, g)));
    io.store(first, ms + i);
    io.store(second, vs + i);
    const Floats deviation = hn::Add(hn::Sqrt(hn::Mul(second, unbias2)), epsilon);
    const Floats direction = hn::Div(hn::Mul(first, unbias1), deviation);
    const Floats w = hn::NegMulAdd(rate, direction, hn::Mul(io.load(ws + i), keep));
    io.store(w, ws + i);
    write_weights(weights, i, io, w);
  });
}

void sgd_row(const Sgd& step, const Matrix& gradient, const Matrix& master, const Matrix& m,
             const Matrix& weights) {
  const float* gs = row_of<float>(gradient, 0);
  float* ws = row_of<float>(master, 0);
  float* ms = row_of<float>(m, 0);
  const Floats scale = all(step.gradient_scale), momentum = all(step.momentum);
  const Floats keep = all(1 - step.learning_rate * step.weight_decay);
  const Floats rate = all(step.learning_rate);
  over(master.cols, [&](std::size_t i, auto io) HWY_ATTR {
    const Floats g = hn::Mul(io.load(gs + i), scale);
    const Floats velocity = hn::MulAdd(momentum, io.load(ms + i), g);
    io.store(velocity, ms + i);
    const Floats w = hn::NegMulAdd(rate, velocity, hn::Mul(io.load(ws + i), keep));
    io.store(w, ws + i);
    write_weights(weights, i, io, w);
  });
}

/// In fp64.
double sum_of_squares_rows(const Matrix& x) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> narrow;
  constexpr std::size_t wide_lanes = HWY_LANES(double);
  auto even = hn::Zero(d), odd = hn::Zero(d);
  with_type(x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < x.rows; ++row) {
      const T* from = row_of<T>(x, row);
      over(x.cols, [&](std::size_t i, auto io) HWY_ATTR {
        float values[lanes];
        store(io.load(from + i), values);
        for (std::size_t k = 0; k < lanes; k += wide_lanes) {
          const auto v = hn::PromoteTo(d, hn::LoadU(narrow, values + k));
          auto& sum = k == 0 ? even : odd;
          sum = hn::MulAdd(v, v, sum);
        }
      });
    }
  });
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
}

}  // namespace kumihimo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kumihimo::cpu {
namespace {

HWY_EXPORT(adamw_row);
HWY_EXPORT(sgd_row);
HWY_EXPORT(sum_of_squares_rows);

void check_piece(const Matrix& piece, const Matrix& master) {
  KUMIHIMO_CHECK(has_shape(piece, 1, master.cols) && piece.dtype == DType::fp32);
}

void check_weights(const Matrix& weights, const Matrix& master) {
  KUMIHIMO_CHECK(weights.empty() || has_shape(weights, 1, master.cols));
  KUMIHIMO_CHECK(weights.empty() || weights.dtype == DType::fp32 || weights.dtype == DType::bf16);
}

}  // namespace

void CpuKernels::sum_of_squares(const Matrix& x, const Matrix& sum) {
  KUMIHIMO_CHECK(x.dtype == DType::fp32 || x.dtype == DType::bf16);
  KUMIHIMO_CHECK(has_shape(sum, 1, 1) && sum.dtype == DType::fp64);
  if (x.elements() == 0) return;
  // Blocks of a fixed size, added in their order, so that threads change nothing.
  constexpr std::int64_t block_elements = 32 * 1024;
  const Matrix flat = x.contiguous() ? reshaped(x, 1, x.elements()) : x;
  const bool by_cols = flat.rows == 1;
  const std::int64_t extent = by_cols ? flat.cols : flat.rows;
  const std::int64_t size =
      by_cols ? block_elements : std::max<std::int64_t>(1, block_elements / flat.cols);
  const std::int64_t blocks = (extent + size - 1) / size;

  const Workspace::Scope scope(workspace_);
  const Matrix partial = workspace_.take(1, blocks, DType::fp64);
  auto* sums = static_cast<double*>(partial.data);
  team_.for_each(blocks, [&](std::int64_t block, int) {
    const std::int64_t first = block * size;
    const std::int64_t count = std::min(size, extent - first);
    const Matrix part = by_cols ? cols_of(flat, first, count) : rows_of(flat, first, count);
    sums[block] = HWY_DYNAMIC_DISPATCH(sum_of_squares_rows)(part);
  });
  double total = 0;
  for (std::int64_t block = 0; block < blocks; ++block) total += sums[block];
  *static_cast<double*>(sum.data) += total;
}

void CpuKernels::adamw(const AdamW& step, const Matrix& gradient, const Matrix& master,
                       const Matrix& m, const Matrix& v, const Matrix& weights) {
  check_piece(master, master);
  check_piece(gradient, master);
  check_piece(m, master);
  check_piece(v, master);
  check_weights(weights, master);
  const Matrix copy = weights.data == master.data ? Matrix() : weights;
  team_.for_elements(
      [&](const Matrix& g, const Matrix& w, const Matrix& first, const Matrix& second,
          const Matrix& out) {
        HWY_DYNAMIC_DISPATCH(adamw_row)
        (step, g, w, first, second, out);
      },
      gradient, master, m, v, copy);
}

void CpuKernels::sgd(const Sgd& step, const Matrix& gradient, const Matrix& master, const Matrix& m,
                     const Matrix& weights) {
  check_piece(master, master);
  check_piece(gradient, master);
  check_piece(m, master);
  check_weights(weights, master);
  const Matrix copy = weights.data == master.data ? Matrix() : weights;
  team_.for_elements(
      [&](const Matrix& g, const Matrix& w, const Matrix& velocity, const Matrix& out) {
        HWY_DYNAMIC_DISPATCH(sgd_row)(step, g, w, velocity, out);
      },
      gradient, master, m, copy);
}

}  // namespace kumihimo::cpu
#endif
