#include <algorithm>
#include <span>
#include <vector>

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

void adamw_row(const AdamW& step, const OptimizerPiece& piece) {
  const float* gs = row_of<float>(piece.gradient, 0);
  float* ws = row_of<float>(piece.master, 0);
  float* ms = row_of<float>(piece.m, 0);
  float* vs = row_of<float>(piece.v, 0);
  const Floats scale = all(step.gradient_scale);
  const Floats beta1 = all(step.beta1), rest1 = all(1 - step.beta1);
  const Floats beta2 = all(step.beta2), rest2 = all(1 - step.beta2);
  const Floats unbias1 = all(1 / step.correction1), unbias2 = all(1 / step.correction2);
  const Floats keep = all(1 - step.learning_rate * piece.weight_decay);
  const Floats rate = all(step.learning_rate), epsilon = all(step.epsilon);
  over(piece.master.cols, [&](std::size_t i, auto io) HWY_ATTR {
    const Floats g = hn::Mul(io.load(gs + i), scale);
    const Floats first = hn::MulAdd(beta1, io.load(ms + i), hn::Mul(rest1, g));
    const Floats second = hn::MulAdd(beta2, io.load(vs + i), hn::Mul(rest2, hn::Mul(g, g)));
    io.store(first, ms + i);
    io.store(second, vs + i);
    const Floats deviation = hn::Add(hn::Sqrt(hn::Mul(second, unbias2)), epsilon);
    const Floats direction = hn::Div(hn::Mul(first, unbias1), deviation);
    const Floats w = hn::NegMulAdd(rate, direction, hn::Mul(io.load(ws + i), keep));
    io.store(w, ws + i);
    write_weights(piece.weights, i, io, w);
  });
}

void sgd_row(const Sgd& step, const OptimizerPiece& piece) {
  const float* gs = row_of<float>(piece.gradient, 0);
  float* ws = row_of<float>(piece.master, 0);
  float* ms = row_of<float>(piece.m, 0);
  const Floats scale = all(step.gradient_scale), momentum = all(step.momentum);
  const Floats keep = all(1 - step.learning_rate * piece.weight_decay);
  const Floats rate = all(step.learning_rate);
  over(piece.master.cols, [&](std::size_t i, auto io) HWY_ATTR {
    const Floats g = hn::Mul(io.load(gs + i), scale);
    const Floats velocity = hn::MulAdd(momentum, io.load(ms + i), g);
    io.store(velocity, ms + i);
    const Floats w = hn::NegMulAdd(rate, velocity, hn::Mul(io.load(ws + i), keep));
    io.store(w, ws + i);
    write_weights(piece.weights, i, io, w);
  });
}

/// Of a row, in fp64.
double sum_of_squares_row(const Matrix& x) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> narrow;
  constexpr std::size_t wide_lanes = HWY_LANES(double);
  auto even = hn::Zero(d), odd = hn::Zero(d);
  with_type(x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const T* from = row_of<T>(x, 0);
    over(x.cols, [&](std::size_t i, auto io) HWY_ATTR {
      float values[lanes];
      store(io.load(from + i), values);
      for (std::size_t k = 0; k < lanes; k += wide_lanes) {
        const auto v = hn::PromoteTo(d, hn::LoadU(narrow, values + k));
        auto& sum = k == 0 ? even : odd;
        sum = hn::MulAdd(v, v, sum);
      }
    });
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
HWY_EXPORT(sum_of_squares_row);

OptimizerPiece part_of(const OptimizerPiece& piece, std::int64_t first, std::int64_t count) {
  const auto part = [&](const Matrix& matrix) {
    return matrix.empty() ? matrix : cols_of(matrix, first, count);
  };
  // Weights that are master itself need no second store.
  const bool separate = piece.weights.data != piece.master.data;
  return {.gradient = part(piece.gradient),
          .master = part(piece.master),
          .m = part(piece.m),
          .v = part(piece.v),
          .weights = separate ? part(piece.weights) : Matrix(),
          .weight_decay = piece.weight_decay};
}

/// body(part of a piece): the threads share all elements of all pieces evenly.
template <class Body>
void for_parts(const Team& team, std::span<const OptimizerPiece> pieces, const Body& body) {
  std::int64_t all = 0;
  for (const OptimizerPiece& piece : pieces) all += piece.master.cols;
  team.for_ranges(all, 1, 64, [&](std::int64_t first, std::int64_t count) {
    std::int64_t begin = 0;  // of the piece, among all elements
    for (const OptimizerPiece& piece : pieces) {
      const std::int64_t end = begin + piece.master.cols;
      const std::int64_t from = std::max(first, begin), to = std::min(first + count, end);
      if (from < to) body(part_of(piece, from - begin, to - from));
      begin = end;
    }
  });
}

}  // namespace

void CpuKernels::sum_of_squares(std::span<const Matrix> matrices, const Matrix& sum) {
  KUMIHIMO_CHECK(has_shape(sum, 1, 1) && sum.dtype == DType::fp64);
  // Blocks of a fixed size, added in their order, so that threads change nothing.
  constexpr std::int64_t block_elements = 32 * 1024;
  const auto blocks_of = [](const Matrix& x) {
    return (x.elements() + block_elements - 1) / block_elements;
  };
  std::vector<Matrix> blocks;
  for (const Matrix& x : matrices) {
    KUMIHIMO_CHECK(x.contiguous() && (x.dtype == DType::fp32 || x.dtype == DType::bf16));
    const Matrix flat = reshaped(x, 1, x.elements());
    for (std::int64_t block = 0; block < blocks_of(x); ++block) {
      const std::int64_t first = block * block_elements;
      blocks.push_back(cols_of(flat, first, std::min(block_elements, flat.cols - first)));
    }
  }

  const Workspace::Scope scope(workspace_);
  const Matrix partial = workspace_.take(1, std::ssize(blocks), DType::fp64);
  auto* sums = static_cast<double*>(partial.data);
  team_.for_each(std::ssize(blocks), [&](std::int64_t block, int) {
    sums[block] = HWY_DYNAMIC_DISPATCH(sum_of_squares_row)(blocks[static_cast<std::size_t>(block)]);
  });
  for (const Matrix& x : matrices) {
    double total = 0;
    for (std::int64_t block = 0; block < blocks_of(x); ++block) total += *sums++;
    *static_cast<double*>(sum.data) += total;
  }
}

void CpuKernels::adamw(const AdamW& step, std::span<const OptimizerPiece> pieces) {
  for (const OptimizerPiece& piece : pieces) check_piece(piece, true);
  for_parts(team_, pieces, [&](const OptimizerPiece& part) {
    HWY_DYNAMIC_DISPATCH(adamw_row)(step, part);
  });
}

void CpuKernels::sgd(const Sgd& step, std::span<const OptimizerPiece> pieces) {
  for (const OptimizerPiece& piece : pieces) check_piece(piece, false);
  for_parts(team_, pieces, [&](const OptimizerPiece& part) {
    HWY_DYNAMIC_DISPATCH(sgd_row)(step, part);
  });
}

}  // namespace kumihimo::cpu
#endif
