#include "base/check.hpp"
#include "tensor/cpu/cpu_kernels.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/rotary.cpp"
#include <hwy/foreach_target.h>
// After the line above, which includes this file again for each instruction set.
#include "tensor/cpu/vectors-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kumihimo::cpu::HWY_NAMESPACE {

/// Rows of x from token `first_token` on.
void rotate_rows(const Matrix& x, std::int64_t first_token, std::int64_t heads,
                 std::int64_t head_dim, std::int64_t seq_length, const Matrix& table,
                 bool inverse) {
  with_type(x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const std::int64_t half = head_dim / 2;
    const Floats sign = all(inverse ? -1.0f : 1.0f);
    for (std::int64_t row = 0; row < x.rows; ++row) {
      const float* cosines = row_of<float>(table, (first_token + row) % seq_length);
      const float* sines = cosines + half;
      T* first = row_of<T>(x, row);
      for (std::int64_t head = 0; head < heads; ++head, first += head_dim) {
        T* second = first + half;
        over(half, [&](std::size_t i, auto io) HWY_ATTR {
          const Floats cosine = io.load(cosines + i);
          const Floats sine = hn::Mul(io.load(sines + i), sign);
          const Floats a = io.load(first + i), b = io.load(second + i);
          io.store(hn::NegMulAdd(b, sine, hn::Mul(a, cosine)), first + i);
          io.store(hn::MulAdd(a, sine, hn::Mul(b, cosine)), second + i);
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

HWY_EXPORT(rotate_rows);

}  // namespace

void CpuKernels::rotate(const Matrix& x, std::int64_t heads, std::int64_t head_dim,
                        std::int64_t seq_length, const Matrix& table, bool inverse) {
  KUMIHIMO_CHECK(x.dtype == DType::fp32 || x.dtype == DType::bf16);
  KUMIHIMO_CHECK(head_dim % 2 == 0 && heads * head_dim <= x.cols);
  KUMIHIMO_CHECK(table.cols == head_dim && seq_length <= table.rows);
  KUMIHIMO_CHECK(table.dtype == DType::fp32);
  team_.for_ranges(x.rows, heads * head_dim, 1, [&](std::int64_t first, std::int64_t count) {
    HWY_DYNAMIC_DISPATCH(rotate_rows)
    (rows_of(x, first, count), first, heads, head_dim, seq_length, table, inverse);
  });
}

}  // namespace kumihimo::cpu
#endif
