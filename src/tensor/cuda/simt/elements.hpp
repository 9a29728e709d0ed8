#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "base/check.hpp"
#include "tensor/cuda/simt/simt.hpp"
#include "tensor/cuda/simt_kernels.hpp"
#include "tensor/matrix.hpp"

// How kernels see matrices, and how they read and write several elements at once.

namespace KUMIHIMO_CUDA_NAMESPACE {

/// The rows of a matrix, as a kernel's argument.
template <class T>
struct Rows {
  T* data;
  std::int64_t stride;

  __device__ __forceinline__ T* at(std::int64_t row, std::int64_t col) const {
    return data + row * stride + col;
  }
};

template <class T>
Rows<T> rows(const Matrix& matrix) {
  return {static_cast<T*>(matrix.data), matrix.stride};
}

// --- Numbers

__device__ __forceinline__ float widened(float value) { return value; }

template <class T>
__device__ __forceinline__ T narrowed_to(float value) {
  if constexpr (std::is_same_v<T, float>) {
    return value;
  } else {
    return narrowed(value);
  }
}

/// As arithmetic sees elements.
template <int count>
struct Floats {
  float values[count];
};

/// Elements that one thread moves together: 16 bytes, or one where rows do not begin at multiples
/// of 16 bytes.
template <class T>
inline constexpr int wide = static_cast<int>(16 / sizeof(T));

// --- Several elements. `count` of them are there: all, or fewer at the end of a row.

/// Elements that are not there are 0.
template <int width, class T>
__device__ __forceinline__ Vector<T, width> load_elements(const T* from, std::int64_t count) {
  Vector<T, width> vector;
  if (count >= width) {
    constexpr int piece = width < wide<T> ? width : wide<T>;
#pragma unroll
    for (int i = 0; i < width; i += piece) {
      const auto part = load_vector<piece>(from + i);
#pragma unroll
      for (int j = 0; j < piece; ++j) vector.elements[i + j] = part.elements[j];
    }
  } else {
#pragma unroll
    for (int i = 0; i < width; ++i) vector.elements[i] = i < count ? from[i] : T{};
  }
  return vector;
}

template <class T, int width>
__device__ __forceinline__ void store_elements(T* to, const Vector<T, width>& vector,
                                               std::int64_t count) {
  if (count >= width) {
    constexpr int piece = width < wide<T> ? width : wide<T>;
#pragma unroll
    for (int i = 0; i < width; i += piece) {
      Vector<T, piece> part;
#pragma unroll
      for (int j = 0; j < piece; ++j) part.elements[j] = vector.elements[i + j];
      store_global_vector(to + i, part);
    }
  } else {
#pragma unroll
    for (int i = 0; i < width; ++i) {
      if (i < count) to[i] = vector.elements[i];
    }
  }
}

template <class T, int width>
__device__ __forceinline__ Floats<width> widened(const Vector<T, width>& vector) {
  Floats<width> floats;
#pragma unroll
  for (int i = 0; i < width; ++i) floats.values[i] = widened(vector.elements[i]);
  return floats;
}

template <class T, int width>
__device__ __forceinline__ Vector<T, width> narrowed_to(const Floats<width>& floats) {
  Vector<T, width> vector;
#pragma unroll
  for (int i = 0; i < width; ++i) vector.elements[i] = narrowed_to<T>(floats.values[i]);
  return vector;
}

template <int width, class T>
__device__ __forceinline__ Floats<width> load(const T* from, std::int64_t count) {
  return widened(load_elements<width>(from, count));
}

template <int width, class T>
__device__ __forceinline__ void store(T* to, const Floats<width>& floats, std::int64_t count) {
  store_elements(to, narrowed_to<T>(floats), count);
}

// --- Choosing an instantiation

/// body(T{}) with the type of fp32's or bf16's elements.
template <class Body>
void with_type(DType dtype, const Body& body) {
  if (dtype == DType::fp32) {
    body(float{});
  } else {
    KUMIHIMO_CHECK(dtype == DType::bf16);
    body(Bf16{});
  }
}

/// Every row begins where `width` elements can be moved in pieces of 16 bytes, or of their size
/// where that is less.
inline bool is_aligned(const Matrix& matrix, int width) {
  const std::int64_t piece = std::min<std::int64_t>(16, width * bytes_of(matrix.dtype));
  return reinterpret_cast<std::uintptr_t>(matrix.data) % static_cast<std::uintptr_t>(piece) == 0 &&
         (matrix.rows <= 1 || matrix.stride * bytes_of(matrix.dtype) % piece == 0);
}

/// body(std::integral_constant<int, width>()), or of 1 where a matrix is not aligned for that.
template <int width, class Body, class... Matrices>
void with_width(const Body& body, const Matrices&... matrices) {
  if ((is_aligned(matrices, width) && ...)) {
    body(std::integral_constant<int, width>());
  } else {
    body(std::integral_constant<int, 1>());
  }
}

/// body(std::integral_constant<int, width>()) where rows are aligned for that and whole vectors, as
/// those of a model mostly are; else of 1.
template <int width, class Body, class... Matrices>
void with_whole_width(const Body& body, const Matrices&... matrices) {
  if (((matrices.cols % width == 0) && ...)) {
    with_width<width>(body, matrices...);
  } else {
    body(std::integral_constant<int, 1>());
  }
}

constexpr std::int64_t pieces_of(std::int64_t elements, std::int64_t piece) {
  return (elements + piece - 1) / piece;
}

/// At least `wanted` threads, in whole warps, and at most `most`.
inline unsigned threads_for(std::int64_t wanted, std::int64_t most) {
  return static_cast<unsigned>(std::clamp<std::int64_t>(pieces_of(wanted, 32) * 32, 32, most));
}

inline unsigned blocks(std::int64_t count) {
  KUMIHIMO_CHECK(0 <= count && count <= 0x7fff'ffff);
  return static_cast<unsigned>(count);
}

/// What the other dimensions of a grid may have; more is left to a loop in the kernel.
inline unsigned blocks_up_to_limit(std::int64_t count) {
  return static_cast<unsigned>(std::min<std::int64_t>(count, 65535));
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE
