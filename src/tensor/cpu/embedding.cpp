#include <algorithm>
#include <cstring>

#include "base/check.hpp"
#include "tensor/cpu/cpu_kernels.hpp"
#include "tensor/cpu/elements.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/embedding.cpp"
#include <hwy/foreach_target.h>
// After the line above, which includes this file again for each instruction set.
#include "tensor/cpu/vectors-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kumihimo::cpu::HWY_NAMESPACE {

/// Row `row` of sums, of any dtype, += row `row_of_x` of x.
void add_to_row(const Matrix& sums, std::int64_t row, const Matrix& x, std::int64_t row_of_x) {
  with_type(sums.dtype, [&](auto zero_sums) HWY_ATTR {
    with_type(x.dtype, [&](auto zero_x) HWY_ATTR {
      using S = decltype(zero_sums);
      using X = decltype(zero_x);
      S* to = row_of<S>(sums, row);
      const X* from = row_of<X>(x, row_of_x);
      over(x.cols, [&](std::size_t i, auto io)
                       HWY_ATTR { io.store(hn::Add(io.load(to + i), io.load(from + i)), to + i); });
    });
  });
}

}  // namespace kumihimo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kumihimo::cpu {
namespace {

HWY_EXPORT(add_to_row);

/// Threads that add rows of tokens to rows of a table share the columns, so that every element is
/// summed in the order of the tokens, whatever their number.
constexpr std::int64_t column_unit = 64;

std::int64_t index_of(const Matrix& tokens, std::int64_t token) {
  return static_cast<const std::int32_t*>(tokens.data)[token * tokens.stride];
}

void check_tokens(const Matrix& tokens, const Matrix& per_token) {
  KUMIHIMO_CHECK(has_shape(tokens, per_token.rows, 1) && tokens.dtype == DType::int32);
}

}  // namespace

void CpuKernels::embedding_forward(const Matrix& tokens, const Matrix& table,
                                   std::int64_t first_row, const Matrix& out) {
  check_tokens(tokens, out);
  KUMIHIMO_CHECK(table.cols == out.cols && table.dtype == out.dtype);
  const std::int64_t size = bytes_of(out.dtype);
  const auto bytes = static_cast<std::size_t>(out.cols * size);
  team_.for_ranges(out.rows, out.cols, 1, [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t token = first; token < first + count; ++token) {
      const std::int64_t row = index_of(tokens, token) - first_row;
      std::byte* to = static_cast<std::byte*>(out.data) + token * out.stride * size;
      if (row >= 0 && row < table.rows) {
        std::memcpy(to, static_cast<const std::byte*>(table.data) + row * table.stride * size,
                    bytes);
      } else {
        std::memset(to, 0, bytes);
      }
    }
  });
}

void CpuKernels::embedding_backward(const Matrix& tokens, const Matrix& d_out,
                                    std::int64_t first_row, const Matrix& d_table) {
  check_tokens(tokens, d_out);
  KUMIHIMO_CHECK(d_table.cols == d_out.cols && d_table.dtype == DType::fp32);
  team_.for_ranges(
      d_out.cols, d_out.rows, column_unit, [&](std::int64_t first, std::int64_t count) {
        const Matrix to = cols_of(d_table, first, count), from = cols_of(d_out, first, count);
        for (std::int64_t token = 0; token < from.rows; ++token) {
          const std::int64_t row = index_of(tokens, token) - first_row;
          if (row < 0 || row >= to.rows) continue;
          HWY_DYNAMIC_DISPATCH(add_to_row)(to, row, from, token);
        }
      });
}

void CpuKernels::add_positions(const Matrix& x, const Matrix& table, std::int64_t first_token,
                               std::int64_t seq_length) {
  KUMIHIMO_CHECK(x.cols == table.cols && seq_length <= table.rows && x.dtype == table.dtype);
  team_.for_ranges(x.rows, x.cols, 1, [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t token = first; token < first + count; ++token) {
      HWY_DYNAMIC_DISPATCH(add_to_row)(x, token, table, (first_token + token) % seq_length);
    }
  });
}

void CpuKernels::positions_backward(const Matrix& d_x, std::int64_t first_token,
                                    std::int64_t seq_length, const Matrix& d_table) {
  KUMIHIMO_CHECK(d_x.cols == d_table.cols && seq_length <= d_table.rows);
  KUMIHIMO_CHECK(d_table.dtype == DType::fp32);
  team_.for_ranges(d_x.cols, d_x.rows, column_unit, [&](std::int64_t first, std::int64_t count) {
    const Matrix to = cols_of(d_table, first, count), from = cols_of(d_x, first, count);
    for (std::int64_t token = 0; token < from.rows; ++token) {
      HWY_DYNAMIC_DISPATCH(add_to_row)(to, (first_token + token) % seq_length, from, token);
    }
  });
}

}  // namespace kumihimo::cpu
#endif
