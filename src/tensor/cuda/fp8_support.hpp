#pragma once

#include "tensor/matrix.hpp"

namespace kumihimo::cuda {

// Which products of fp8 cuBLASLt has (cuBLAS documentation, cublasLtMatmul, "FP8 kernels").

/// On GPUs of this compute capability: Ada, and Hopper and later.
constexpr bool has_fp8_products(int major, int minor) { return major * 10 + minor >= 89; }

/// Both operands have to lie along what is summed over ("TN"): on Ada, Hopper and the Blackwell of
/// 12.x, but not on that of data centres.
constexpr bool sums_fp8_along_rows(int major, int minor) {
  return has_fp8_products(major, minor) && major != 10 && major != 11;
}

/// Of these two formats: all but e5m2 times e5m2.
constexpr bool has_fp8_product_of(DType a, DType b) {
  return a == DType::fp8_e4m3 || b == DType::fp8_e4m3;
}

/// Of these, sums may be kept in fewer bits ("fast accumulation"): those of forward passes, where
/// both operands are e4m3. Backward, which has one of e5m2, adds its partial sums up in fp32, as
/// Transformer Engine and XLA do by default (openxla/xla#6599).
constexpr bool sums_fp8_fast(DType a, DType b) {
  return a == DType::fp8_e4m3 && b == DType::fp8_e4m3;
}

}  // namespace kumihimo::cuda
