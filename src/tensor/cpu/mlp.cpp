#include "base/check.hpp"
#include "tensor/cpu/cpu_kernels.hpp"
#include "tensor/cpu/elements.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/mlp.cpp"
#include <hwy/foreach_target.h>
// After the line above, which includes this file again for each instruction set.
#include "tensor/cpu/vectors-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace kumihimo::cpu::HWY_NAMESPACE {

void swiglu_rows(const Matrix& x, const Matrix& y) {
  with_type(x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < y.rows; ++row) {
      const T* gates = row_of<T>(x, row);
      const T* ups = gates + y.cols;
      T* to = row_of<T>(y, row);
      over(y.cols, [&](std::size_t i, auto io) HWY_ATTR {
        const Floats gate = io.load(gates + i);
        io.store(hn::Mul(hn::Mul(gate, sigmoid(gate)), io.load(ups + i)), to + i);
      });
    }
  });
}

void swiglu_backward_rows(const Matrix& x, const Matrix& d_y, const Matrix& d_x) {
  with_type(x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < d_y.rows; ++row) {
      const T* gates = row_of<T>(x, row);
      const T* ups = gates + d_y.cols;
      const T* ds = row_of<T>(d_y, row);
      T* to_gates = row_of<T>(d_x, row);
      T* to_ups = to_gates + d_y.cols;
      over(d_y.cols, [&](std::size_t i, auto io) HWY_ATTR {
        const Floats gate = io.load(gates + i), up = io.load(ups + i), d = io.load(ds + i);
        const Floats s = sigmoid(gate);
        // The derivative of silu: s (1 + gate (1 - s)).
        const Floats slope = hn::Mul(s, hn::MulAdd(gate, hn::Sub(all(1), s), all(1)));
        io.store(hn::Mul(hn::Mul(d, up), slope), to_gates + i);
        io.store(hn::Mul(d, hn::Mul(gate, s)), to_ups + i);
      });
    }
  });
}

// gelu(x) = x/2 (1 + tanh(u)) = x sigmoid(2u), with u = sqrt(2/pi) (x + cubic x^3).
constexpr float cubic = 0.044715f;
constexpr float twice_slope = 1.5957691216f;  // 2 sqrt(2/pi)

HWY_INLINE Floats gelu_gate(Floats x) {
  const Floats inner = hn::MulAdd(hn::Mul(hn::Mul(x, x), all(cubic)), x, x);
  return sigmoid(hn::Mul(inner, all(twice_slope)));
}

void gelu_rows(const Matrix& x, const Matrix& y) {
  with_type(x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < y.rows; ++row) {
      const T* from = row_of<T>(x, row);
      T* to = row_of<T>(y, row);
      over(y.cols, [&](std::size_t i, auto io) HWY_ATTR {
        const Floats v = io.load(from + i);
        io.store(hn::Mul(v, gelu_gate(v)), to + i);
      });
    }
  });
}

void gelu_backward_rows(const Matrix& x, const Matrix& d_y, const Matrix& d_x) {
  with_type(x.dtype, [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    for (std::int64_t row = 0; row < d_y.rows; ++row) {
      const T* from = row_of<T>(x, row);
      const T* d = row_of<T>(d_y, row);
      T* to = row_of<T>(d_x, row);
      over(d_y.cols, [&](std::size_t i, auto io) HWY_ATTR {
        const Floats v = io.load(from + i);
        const Floats s = gelu_gate(v);
        // s + x s (1 - s) d(2u)/dx
        const Floats d_inner =
            hn::Mul(all(twice_slope), hn::MulAdd(hn::Mul(v, v), all(3 * cubic), all(1)));
        const Floats s_slope = hn::Mul(s, hn::Sub(all(1), s));
        const Floats slope = hn::MulAdd(hn::Mul(v, s_slope), d_inner, s);
        io.store(hn::Mul(io.load(d + i), slope), to + i);
      });
    }
  });
}

}  // namespace kumihimo::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kumihimo::cpu {
namespace {

HWY_EXPORT(swiglu_rows);
HWY_EXPORT(swiglu_backward_rows);
HWY_EXPORT(gelu_rows);
HWY_EXPORT(gelu_backward_rows);

void check_types(const Matrix& x, const Matrix& y, const Matrix& z) {
  KUMIHIMO_CHECK(x.dtype == DType::fp32 || x.dtype == DType::bf16);
  KUMIHIMO_CHECK(x.dtype == y.dtype && x.dtype == z.dtype);
}

}  // namespace

void CpuKernels::swiglu_forward(const Matrix& x, const Matrix& y) {
  KUMIHIMO_CHECK(has_shape(x, y.rows, 2 * y.cols));
  check_types(x, y, y);
  team_.for_rows(HWY_DYNAMIC_DISPATCH(swiglu_rows), x, y);
}

void CpuKernels::swiglu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) {
  KUMIHIMO_CHECK(has_shape(x, d_y.rows, 2 * d_y.cols) && same_shape(x, d_x));
  check_types(x, d_y, d_x);
  team_.for_rows(HWY_DYNAMIC_DISPATCH(swiglu_backward_rows), x, d_y, d_x);
}

void CpuKernels::gelu_forward(const Matrix& x, const Matrix& y) {
  KUMIHIMO_CHECK(same_shape(x, y));
  check_types(x, y, y);
  team_.for_elements(HWY_DYNAMIC_DISPATCH(gelu_rows), x, y);
}

void CpuKernels::gelu_backward(const Matrix& x, const Matrix& d_y, const Matrix& d_x) {
  KUMIHIMO_CHECK(same_shape(x, d_y) && same_shape(x, d_x));
  check_types(x, d_y, d_x);
  team_.for_elements(HWY_DYNAMIC_DISPATCH(gelu_backward_rows), x, d_y, d_x);
}

}  // namespace kumihimo::cpu
#endif
