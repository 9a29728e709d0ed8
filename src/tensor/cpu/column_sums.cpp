#include "tensor/cpu/column_sums.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "tensor/cpu/cpu_kernels.hpp"
#include "tensor/cpu/elements.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/column_sums.cpp"
#include <hwy/foreach_target.h>
// After the line above, which includes this file again for each instruction set.
#include "tensor/cpu/vectors-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kumihimo::cpu::HWY_NAMESPACE {

void sum_rows(const Matrix& x, const Matrix& factor, const Matrix& sums) {
  float* to = row_of<float>(sums, 0);
  with_type(x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < x.rows; ++row) {
      const T* from = row_of<T>(x, row);
      if (factor.empty()) {
        over(x.cols, [&](std::size_t i, auto io) HWY_ATTR {
          io.store(hn::Add(io.load(to + i), io.load(from + i)), to + i);
        });
      } else {
        const T* times = row_of<T>(factor, row);
        over(x.cols, [&](std::size_t i, auto io) HWY_ATTR {
          io.store(hn::MulAdd(io.load(from + i), io.load(times + i), io.load(to + i)), to + i);
        });
      }
    }
  });
}

}  // namespace kumihimo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kumihimo::cpu {
namespace {

HWY_EXPORT(sum_rows);

}  // namespace

Matrix block_of(const Matrix& matrix, std::int64_t block) {
  if (matrix.empty()) return matrix;
  const std::int64_t first = block * rows_per_block;
  return rows_of(matrix, first, std::min(rows_per_block, matrix.rows - first));
}

void add_blocks(const Matrix& partial, const Matrix& sums) {
  HWY_DYNAMIC_DISPATCH(sum_rows)(partial, {}, sums);
}

void add_column_sums(const Team& team, Workspace& workspace, const Matrix& x, const Matrix& factor,
                     const Matrix& sums) {
  KUMIHIMO_CHECK(has_shape(sums, 1, x.cols) && sums.dtype == DType::fp32);
  KUMIHIMO_CHECK(factor.empty() || (same_shape(factor, x) && factor.dtype == x.dtype));
  const Workspace::Scope scope(workspace);
  const std::int64_t blocks = blocks_of(x.rows);
  const Matrix partial = workspace.take(blocks, x.cols, DType::fp32);
  team.for_each(blocks, [&](std::int64_t block, int) {
    const Matrix part = rows_of(partial, block, 1);
    std::fill_n(static_cast<float*>(part.data), part.cols, 0.0f);
    HWY_DYNAMIC_DISPATCH(sum_rows)(block_of(x, block), block_of(factor, block), part);
  });
  add_blocks(partial, sums);
}

void CpuKernels::bias_backward(const Matrix& d_y, const Matrix& d_bias) {
  add_column_sums(team_, workspace_, d_y, {}, d_bias);
}

}  // namespace kumihimo::cpu
#endif
