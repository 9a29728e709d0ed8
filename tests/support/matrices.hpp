#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <gtest/gtest.h>
#include <initializer_list>
#include <limits>
#include <random>
#include <vector>

#include "base/check.hpp"
#include "tensor/matrix.hpp"
#include "tensor/reference/element.hpp"

namespace kumihimo::testing {

/// The same numbers for the same seed with every standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : bits_(seed) {}

  double uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(bits_() >> 11) * 0x1p-53;
  }
  /// One of low, low + 1 … high.
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(bits_() % static_cast<std::uint64_t>(high - low + 1));
  }

 private:
  std::mt19937_64 bits_;
};

/// A matrix in host memory, aligned as a Workspace's. Stands wherever a kernel takes a Matrix.
/// What lies between rows is NaN (-1 of int32), so that a kernel that reads it shows.
class HostMatrix {
 public:
  HostMatrix() = default;
  /// Zeros. `stride` 0: no gaps.
  HostMatrix(std::int64_t rows, std::int64_t cols, DType dtype = DType::fp32,
             std::int64_t stride = 0)
      : rows_(rows), cols_(cols), stride_(stride == 0 ? cols : stride), dtype_(dtype) {
    KUMIHIMO_CHECK(stride_ >= cols_);
    const auto bytes = static_cast<std::size_t>(rows_ * stride_ * bytes_of(dtype_));
    lines_.resize((bytes + sizeof(Line) - 1) / sizeof(Line) + 1);
    std::memset(lines_.data(), 0xff, lines_.size() * sizeof(Line));
    for (std::int64_t row = 0; row < rows_; ++row) {
      for (std::int64_t col = 0; col < cols_; ++col) set(row, col, 0);
    }
  }
  HostMatrix(std::initializer_list<std::initializer_list<double>> values, DType dtype = DType::fp32)
      : HostMatrix(static_cast<std::int64_t>(values.size()),
                   static_cast<std::int64_t>(values.begin()->size()), dtype) {
    std::int64_t row = 0;
    for (const auto& row_values : values) {
      std::int64_t col = 0;
      for (const double value : row_values) set(row, col++, value);
      ++row;
    }
  }

  /// A const HostMatrix is one whose shape stays: like any Matrix, its view can be written to.
  Matrix view() const { return {const_cast<Line*>(lines_.data()), rows_, cols_, stride_, dtype_}; }
  operator Matrix() const { return view(); }  // a kernel's argument

  double at(std::int64_t row, std::int64_t col) const { return reference::read(view(), row, col); }
  /// Rounds to the dtype.
  void set(std::int64_t row, std::int64_t col, double value) {
    reference::write(view(), row, col, value);
  }
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  DType dtype() const { return dtype_; }

  /// Nothing was written between rows.
  bool gaps_are_untouched() const {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(lines_.data());
    for (std::int64_t row = 0; row < rows_; ++row) {
      const auto* gap = bytes + (row * stride_ + cols_) * bytes_of(dtype_);
      const auto* gap_end = bytes + (row + 1) * stride_ * bytes_of(dtype_);
      if (!std::all_of(gap, gap_end, [](std::uint8_t byte) { return byte == 0xff; })) return false;
    }
    return true;
  }

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::int64_t rows_ = 0, cols_ = 0, stride_ = 0;
  DType dtype_ = DType::fp32;
  std::vector<Line> lines_;
};

/// Uniform between -magnitude and magnitude, rounded to the dtype.
inline HostMatrix random_matrix(Random& random, std::int64_t rows, std::int64_t cols,
                                DType dtype = DType::fp32, double magnitude = 1,
                                std::int64_t stride = 0) {
  HostMatrix matrix(rows, cols, dtype, stride);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t col = 0; col < cols; ++col) {
      matrix.set(row, col, random.uniform(-magnitude, magnitude));
    }
  }
  return matrix;
}

/// int32 [rows, 1], each from 0 up to below `limit`: tokens, targets.
inline HostMatrix random_indices(Random& random, std::int64_t rows, std::int64_t limit) {
  HostMatrix matrix(rows, 1, DType::int32);
  for (std::int64_t row = 0; row < rows; ++row) {
    matrix.set(row, 0, static_cast<double>(random.integer(0, limit - 1)));
  }
  return matrix;
}

/// A copy of its elements, in another format and without gaps.
inline HostMatrix converted(const Matrix& matrix, DType dtype) {
  HostMatrix copy(matrix.rows, matrix.cols, dtype);
  for (std::int64_t row = 0; row < matrix.rows; ++row) {
    for (std::int64_t col = 0; col < matrix.cols; ++col) {
      copy.set(row, col, reference::read(matrix, row, col));
    }
  }
  return copy;
}

/// The largest relative error of rounding to the format once.
constexpr double rounding_of(DType dtype) {
  switch (dtype) {
    case DType::fp64: return 0x1p-53;
    case DType::fp32: return 0x1p-24;
    case DType::bf16: return 0x1p-7 / 2;
    case DType::fp8_e4m3: return 0x1p-3 / 2;
    case DType::fp8_e5m2: return 0x1p-2 / 2;
    case DType::int32: return 0;
  }
  return 0;
}

inline double root_mean_square(const Matrix& matrix) {
  double squares = 0;
  for (std::int64_t row = 0; row < matrix.rows; ++row) {
    for (std::int64_t col = 0; col < matrix.cols; ++col) {
      const double value = reference::read(matrix, row, col);
      if (std::isfinite(value)) squares += value * value;
    }
  }
  return matrix.elements() > 0 ? std::sqrt(squares / static_cast<double>(matrix.elements())) : 0;
}

/// Every element is within `tolerance` of the expected one, relative to that element or to the root
/// mean square of all, whichever is larger: sums that cancel are as exact as their terms allow. NaN
/// and infinities must be where they are expected. Names the worst element.
inline ::testing::AssertionResult close_to(const Matrix& actual, const Matrix& expected,
                                           double tolerance) {
  if (actual.rows != expected.rows || actual.cols != expected.cols) {
    return ::testing::AssertionFailure()
           << "[" << actual.rows << ", " << actual.cols << "] instead of [" << expected.rows << ", "
           << expected.cols << "]";
  }
  const double scale = root_mean_square(expected);
  std::int64_t wrong = 0, worst_row = 0, worst_col = 0;
  double worst = 0;
  for (std::int64_t row = 0; row < actual.rows; ++row) {
    for (std::int64_t col = 0; col < actual.cols; ++col) {
      const double a = reference::read(actual, row, col);
      const double e = reference::read(expected, row, col);
      double error = 0;
      if (a != e && !(std::isnan(a) && std::isnan(e))) {
        error = std::abs(a - e) / std::max(std::abs(e), scale);
        if (!std::isfinite(error)) error = std::numeric_limits<double>::infinity();
      }
      if (error > tolerance) ++wrong;
      if (error > worst) worst = error, worst_row = row, worst_col = col;
    }
  }
  if (wrong == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << wrong << " of " << actual.elements() << " elements are off by more than " << tolerance
         << " (relative to themselves or to " << scale << ", their root mean square); worst: ["
         << worst_row << ", " << worst_col << "] is "
         << reference::read(actual, worst_row, worst_col) << " instead of "
         << reference::read(expected, worst_row, worst_col) << ", off by " << worst;
}

/// Every element has the expected value: for results that are exact, or must not depend on
/// something. NaN equals NaN.
inline ::testing::AssertionResult same_values(const Matrix& actual, const Matrix& expected) {
  return close_to(actual, expected, 0);
}

}  // namespace kumihimo::testing
