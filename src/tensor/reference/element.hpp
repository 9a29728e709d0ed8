#pragma once

#include <cstdint>

#include "base/check.hpp"
#include "tensor/float_formats.hpp"
#include "tensor/matrix.hpp"

namespace kumihimo::reference {

// The reference reads every element as a double and rounds once, when it stores a result: what is
// between is as exact as plain C++ allows, and no faster kernel is wrong for being more exact.

inline double read(const Matrix& matrix, std::int64_t row, std::int64_t col) {
  const std::int64_t at = row * matrix.stride + col;
  switch (matrix.dtype) {
    case DType::fp64: return static_cast<const double*>(matrix.data)[at];
    case DType::fp32: return static_cast<const float*>(matrix.data)[at];
    case DType::bf16: return from_bf16(static_cast<const std::uint16_t*>(matrix.data)[at]);
    case DType::fp8_e4m3:
      return from_fp8(fp8_e4m3_format, static_cast<const std::uint8_t*>(matrix.data)[at]);
    case DType::fp8_e5m2:
      return from_fp8(fp8_e5m2_format, static_cast<const std::uint8_t*>(matrix.data)[at]);
    case DType::int32: return static_cast<const std::int32_t*>(matrix.data)[at];
  }
  return 0;
}

/// Rounds to the matrix's format; 8 bits saturate.
inline void write(const Matrix& matrix, std::int64_t row, std::int64_t col, double value) {
  const std::int64_t at = row * matrix.stride + col;
  const auto narrow = static_cast<float>(value);
  switch (matrix.dtype) {
    case DType::fp64: static_cast<double*>(matrix.data)[at] = value; break;
    case DType::fp32: static_cast<float*>(matrix.data)[at] = narrow; break;
    case DType::bf16: static_cast<std::uint16_t*>(matrix.data)[at] = to_bf16(narrow); break;
    case DType::fp8_e4m3:
      static_cast<std::uint8_t*>(matrix.data)[at] = to_fp8(fp8_e4m3_format, narrow);
      break;
    case DType::fp8_e5m2:
      static_cast<std::uint8_t*>(matrix.data)[at] = to_fp8(fp8_e5m2_format, narrow);
      break;
    case DType::int32:
      static_cast<std::int32_t*>(matrix.data)[at] = static_cast<std::int32_t>(value);
      break;
  }
}

/// A token, or a target.
inline std::int64_t read_index(const Matrix& indices, std::int64_t row) {
  KUMIHIMO_CHECK(indices.dtype == DType::int32);
  return static_cast<const std::int32_t*>(indices.data)[row * indices.stride];
}

inline void add_to(const Matrix& matrix, std::int64_t row, std::int64_t col, double value) {
  write(matrix, row, col, read(matrix, row, col) + value);
}

}  // namespace kumihimo::reference
