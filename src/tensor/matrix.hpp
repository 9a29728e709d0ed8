#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.hpp"

namespace kumihimo {

/// How a number is stored. fp8 follows the OCP formats (Micikevicius et al. 2022,
/// arXiv:2209.05433): e4m3 without infinities, largest 448; e5m2 with infinities, largest 57,344.
enum class DType : std::uint8_t { fp64, fp32, bf16, fp8_e4m3, fp8_e5m2, int32 };

constexpr std::int64_t bytes_of(DType dtype) {
  switch (dtype) {
    case DType::fp64: return 8;
    case DType::fp32:
    case DType::int32: return 4;
    case DType::bf16: return 2;
    case DType::fp8_e4m3:
    case DType::fp8_e5m2: return 1;
  }
  return 0;
}

constexpr std::string_view to_string(DType dtype) {
  switch (dtype) {
    case DType::fp64: return "fp64";
    case DType::fp32: return "fp32";
    case DType::bf16: return "bf16";
    case DType::fp8_e4m3: return "fp8-e4m3";
    case DType::fp8_e5m2: return "fp8-e5m2";
    case DType::int32: return "int32";
  }
  return "?";
}

constexpr bool is_fp8(DType dtype) { return dtype == DType::fp8_e4m3 || dtype == DType::fp8_e5m2; }

/// A row-major matrix somewhere in a rank's memory: a view, which owns nothing. Tensors of more
/// dimensions are matrices of tokens x features here; kernels that need more are told the rest.
struct Matrix {
  void* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t stride = 0;  ///< elements from one row to the next
  DType dtype = DType::fp32;

  bool empty() const { return data == nullptr; }
  bool contiguous() const { return stride == cols || rows <= 1; }
  std::int64_t elements() const { return rows * cols; }
  /// Of the elements themselves, without what lies between rows.
  std::int64_t bytes() const { return elements() * bytes_of(dtype); }
};

/// A contiguous matrix at `data`.
inline Matrix matrix_at(void* data, std::int64_t rows, std::int64_t cols, DType dtype) {
  return {data, rows, cols, cols, dtype};
}

inline bool same_shape(const Matrix& a, const Matrix& b) {
  return a.rows == b.rows && a.cols == b.cols;
}

inline bool has_shape(const Matrix& matrix, std::int64_t rows, std::int64_t cols) {
  return matrix.rows == rows && matrix.cols == cols;
}

inline Matrix rows_of(const Matrix& matrix, std::int64_t first, std::int64_t count) {
  KUMIHIMO_CHECK(first >= 0 && count >= 0 && first + count <= matrix.rows);
  Matrix part = matrix;
  part.data = static_cast<std::byte*>(matrix.data) + first * matrix.stride * bytes_of(matrix.dtype);
  part.rows = count;
  return part;
}

inline Matrix cols_of(const Matrix& matrix, std::int64_t first, std::int64_t count) {
  KUMIHIMO_CHECK(first >= 0 && count >= 0 && first + count <= matrix.cols);
  Matrix part = matrix;
  part.data = static_cast<std::byte*>(matrix.data) + first * bytes_of(matrix.dtype);
  part.cols = count;
  return part;
}

/// The same memory read with another shape. Requires a contiguous matrix of as many elements.
inline Matrix reshaped(const Matrix& matrix, std::int64_t rows, std::int64_t cols) {
  KUMIHIMO_CHECK(matrix.contiguous() && rows * cols == matrix.elements());
  return {matrix.data, rows, cols, cols, matrix.dtype};
}

}  // namespace kumihimo
