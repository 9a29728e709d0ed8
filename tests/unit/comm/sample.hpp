#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "comm/world.hpp"

namespace kumihimo {

/// Memory for a matrix.
class Storage {
 public:
  Storage(std::int64_t rows, std::int64_t cols, DType dtype)
      : words_(static_cast<std::size_t>(rows * cols + 1)),
        matrix_(matrix_at(words_.data(), rows, cols, dtype)) {}

  const Matrix& matrix() const { return matrix_; }
  std::string bytes() const {
    return {static_cast<const char*>(matrix_.data), static_cast<std::size_t>(matrix_.bytes())};
  }

 private:
  std::vector<double> words_;  // enough for the widest dtype, and aligned for it
  Matrix matrix_;
};

inline std::uint16_t bf16_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  std::uint32_t upper = bits >> 16;
  const std::uint32_t lower = bits & 0xffff;
  if (lower > 0x8000 || (lower == 0x8000 && upper % 2 == 1)) ++upper;
  return static_cast<std::uint16_t>(upper);
}

/// Element `index`, in storage order.
inline double element(const Matrix& x, std::int64_t index) {
  switch (x.dtype) {
    case DType::fp64: return static_cast<const double*>(x.data)[index];
    case DType::fp32: return static_cast<const float*>(x.data)[index];
    case DType::int32: return static_cast<const std::int32_t*>(x.data)[index];
    case DType::bf16: {
      const std::uint32_t bits = static_cast<const std::uint16_t*>(x.data)[index];
      return std::bit_cast<float>(bits << 16);
    }
    case DType::fp8_e4m3:
    case DType::fp8_e5m2: return static_cast<const std::uint8_t*>(x.data)[index];
  }
  return 0;
}

/// Rounded to the dtype; fp8: the byte of that value.
inline void set_element(const Matrix& x, std::int64_t index, double value) {
  switch (x.dtype) {
    case DType::fp64: static_cast<double*>(x.data)[index] = value; break;
    case DType::fp32: static_cast<float*>(x.data)[index] = static_cast<float>(value); break;
    case DType::int32:
      static_cast<std::int32_t*>(x.data)[index] = static_cast<std::int32_t>(value);
      break;
    case DType::bf16:
      static_cast<std::uint16_t*>(x.data)[index] = bf16_bits(static_cast<float>(value));
      break;
    case DType::fp8_e4m3:
    case DType::fp8_e5m2:
      static_cast<std::uint8_t*>(x.data)[index] = static_cast<std::uint8_t>(value);
      break;
  }
}

/// What rank `rank` puts into element `index`: from -1,000 to 1,000 with a fraction, so that the
/// order of a sum shows in its bits; whole for int32, a byte for fp8.
inline double sample(DType dtype, int rank, std::int64_t index) {
  std::uint64_t hash =
      static_cast<std::uint64_t>(rank) * 1'000'003 + static_cast<std::uint64_t>(index);
  hash = (hash ^ (hash >> 31)) * 0x9e3779b97f4a7c15;
  hash = (hash ^ (hash >> 29)) * 0xbf58476d1ce4e5b9;
  hash ^= hash >> 32;
  if (bytes_of(dtype) == 1) return static_cast<double>(hash % 256);
  const auto thousandths = static_cast<double>(hash % 2'000'001) - 1e6;
  return dtype == DType::int32 ? thousandths : thousandths / 1e3;
}

inline void fill(const Matrix& x, int rank) {
  for (std::int64_t i = 0; i < x.elements(); ++i) set_element(x, i, sample(x.dtype, rank, i));
}

inline Storage filled(std::int64_t rows, std::int64_t cols, DType dtype, int rank) {
  Storage storage(rows, cols, dtype);
  fill(storage.matrix(), rank);
  return storage;
}

/// What the contract says a reduction over `ranks` gives for matrices that fill() has filled.
inline Storage reduced(std::span<const int> ranks, std::int64_t rows, std::int64_t cols,
                       DType dtype, Reduction reduction) {
  const Storage result(rows, cols, dtype);
  const Storage one(rows, cols, dtype);  // rounds a rank's value to the dtype
  const Matrix& out = result.matrix();
  for (std::int64_t i = 0; i < rows * cols; ++i) {
    double total = 0;
    for (std::size_t k = 0; k < ranks.size(); ++k) {
      set_element(one.matrix(), i, sample(dtype, ranks[k], i));
      const double value = element(one.matrix(), i);
      if (k == 0) {
        total = value;
      } else if (reduction == Reduction::max) {
        total = value > total ? value : total;
      } else if (dtype == DType::fp32 || dtype == DType::bf16) {
        total = static_cast<float>(total) + static_cast<float>(value);
      } else {
        total += value;
      }
    }
    set_element(out, i, total);
  }
  return result;
}

inline void expect(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error("expected: " + what);
}

inline std::vector<int> all_ranks(const World& world) {
  std::vector<int> ranks;
  for (int rank = 0; rank < world.size(); ++rank) ranks.push_back(rank);
  return ranks;
}

}  // namespace kumihimo
