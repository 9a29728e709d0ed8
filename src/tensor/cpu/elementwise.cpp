#include <algorithm>
#include <cstring>

#include "base/check.hpp"
#include "tensor/cpu/cpu_kernels.hpp"
#include "tensor/cpu/elements.hpp"
#include "tensor/float_formats.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/elementwise.cpp"
#include <hwy/foreach_target.h>
// After the line above, which includes this file again for each instruction set.
#include "tensor/cpu/vectors-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kumihimo::cpu::HWY_NAMESPACE {

void add_rows(const Matrix& a, const Matrix& b, const Matrix& out) {
  with_type(out.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < out.rows; ++row) {
      const T* from_a = row_of<T>(a, row);
      const T* from_b = row_of<T>(b, row);
      T* to = row_of<T>(out, row);
      over(out.cols, [&](std::size_t i, auto io) HWY_ATTR {
        io.store(hn::Add(io.load(from_a + i), io.load(from_b + i)), to + i);
      });
    }
  });
}

void scale_rows(const Matrix& x, float factor) {
  with_type(x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < x.rows; ++row) {
      T* at = row_of<T>(x, row);
      over(x.cols, [&](std::size_t i, auto io)
                       HWY_ATTR { io.store(hn::Mul(io.load(at + i), all(factor)), at + i); });
    }
  });
}

/// Between fp32 and bf16.
void convert_rows(const Matrix& in, const Matrix& out) {
  with_type(in.dtype, [&](auto zero_in) HWY_ATTR {
    with_type(out.dtype, [&](auto zero_out) HWY_ATTR {
      using In = decltype(zero_in);
      using Out = decltype(zero_out);
      for (std::int64_t row = 0; row < out.rows; ++row) {
        const In* from = row_of<In>(in, row);
        Out* to = row_of<Out>(out, row);
        over(out.cols,
             [&](std::size_t i, auto io) HWY_ATTR { io.store(io.load(from + i), to + i); });
      }
    });
  });
}

/// x += the one row of `row`.
void add_row_to_rows(const Matrix& x, const Matrix& addend) {
  with_type(x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const T* from = row_of<T>(addend, 0);
    for (std::int64_t row = 0; row < x.rows; ++row) {
      T* at = row_of<T>(x, row);
      over(x.cols, [&](std::size_t i, auto io)
                       HWY_ATTR { io.store(hn::Add(io.load(at + i), io.load(from + i)), at + i); });
    }
  });
}

}  // namespace kumihimo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kumihimo::cpu {
namespace {

HWY_EXPORT(add_rows);
HWY_EXPORT(scale_rows);
HWY_EXPORT(convert_rows);
HWY_EXPORT(add_row_to_rows);

bool is_vector_type(DType dtype) { return dtype == DType::fp32 || dtype == DType::bf16; }

template <class From, class To>
void convert_plainly(const Matrix& in, const Matrix& out) {
  for (std::int64_t row = 0; row < in.rows; ++row) {
    const From* from = static_cast<const From*>(in.data) + row * in.stride;
    To* to = static_cast<To*>(out.data) + row * out.stride;
    for (std::int64_t i = 0; i < in.cols; ++i) to[i] = static_cast<To>(from[i]);
  }
}

void copy_bytes(const Matrix& in, const Matrix& out) {
  const std::int64_t size = bytes_of(in.dtype);
  for (std::int64_t row = 0; row < in.rows; ++row) {
    std::memcpy(static_cast<std::byte*>(out.data) + row * out.stride * size,
                static_cast<const std::byte*>(in.data) + row * in.stride * size,
                static_cast<std::size_t>(in.cols * size));
  }
}

template <class T>
void fill_with(const Matrix& x, T value) {
  for (std::int64_t row = 0; row < x.rows; ++row) {
    std::fill_n(static_cast<T*>(x.data) + row * x.stride, x.cols, value);
  }
}

}  // namespace

const char* instruction_set() {
  return hwy::TargetName(hwy::SupportedTargets() & -hwy::SupportedTargets());
}

void copy(const Team& team, const Matrix& in, const Matrix& out) {
  KUMIHIMO_CHECK(same_shape(in, out));
  team.for_elements(
      [&](const Matrix& from, const Matrix& to) {
        if (from.dtype == to.dtype) {
          copy_bytes(from, to);
        } else if (is_vector_type(from.dtype) && is_vector_type(to.dtype)) {
          HWY_DYNAMIC_DISPATCH(convert_rows)(from, to);
        } else if (from.dtype == DType::fp64 && to.dtype == DType::fp32) {
          convert_plainly<double, float>(from, to);
        } else {
          KUMIHIMO_CHECK(from.dtype == DType::fp32 && to.dtype == DType::fp64);
          convert_plainly<float, double>(from, to);
        }
      },
      in, out);
}

void fill(const Team& team, const Matrix& x, float value) {
  team.for_elements(
      [&](const Matrix& part) {
        switch (part.dtype) {
          case DType::fp64: fill_with<double>(part, value); break;
          case DType::fp32: fill_with<float>(part, value); break;
          case DType::bf16: fill_with<std::uint16_t>(part, to_bf16(value)); break;
          case DType::int32: fill_with(part, static_cast<std::int32_t>(value)); break;
          case DType::fp8_e4m3: fill_with(part, to_fp8(fp8_e4m3_format, value)); break;
          case DType::fp8_e5m2: fill_with(part, to_fp8(fp8_e5m2_format, value)); break;
        }
      },
      x);
}

void CpuKernels::add(const Matrix& a, const Matrix& b, const Matrix& out) {
  KUMIHIMO_CHECK(same_shape(a, b) && same_shape(a, out));
  KUMIHIMO_CHECK(is_vector_type(a.dtype) && a.dtype == b.dtype && a.dtype == out.dtype);
  team_.for_elements(HWY_DYNAMIC_DISPATCH(add_rows), a, b, out);
}

void CpuKernels::copy(const Matrix& in, const Matrix& out) { cpu::copy(team_, in, out); }

void CpuKernels::fill(const Matrix& x, float value) { cpu::fill(team_, x, value); }

void CpuKernels::scale(const Matrix& x, float factor) {
  KUMIHIMO_CHECK(is_vector_type(x.dtype));
  team_.for_elements(
      [&](const Matrix& part) {
        HWY_DYNAMIC_DISPATCH(scale_rows)
        (part, factor);
      },
      x);
}

void CpuKernels::add_bias(const Matrix& x, const Matrix& bias) {
  KUMIHIMO_CHECK(has_shape(bias, 1, x.cols) && x.dtype == bias.dtype);
  team_.for_rows([&](const Matrix& rows) { HWY_DYNAMIC_DISPATCH(add_row_to_rows)(rows, bias); }, x);
}

}  // namespace kumihimo::cpu
#endif
