#pragma once

#include <limits>

#include "tensor/cuda/simt/elements.hpp"

// Sums and maxima over the threads of a warp and of a block, in an order that is always the same:
// every thread gets the same bits.

namespace KUMIHIMO_CUDA_NAMESPACE {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

struct Plus {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};
/// Of numbers; NaN loses.
struct Larger {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

template <class T, class Operation>
__device__ __forceinline__ T warp_reduce(T value, const Operation& operation) {
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) {
    value = operation(value, __shfl_xor_sync(all_lanes, value, bits));
  }
  return value;
}

/// Elements of shared memory that block_reduce of `count` values needs.
__host__ __device__ constexpr int scratch_for(int count) { return 32 * count; }

/// Each of `count` values over the block. `neutral` changes nothing. scratch: scratch_for(count).
template <int count, class T, class Operation>
__device__ __forceinline__ void block_reduce(T (&values)[count], const Operation& operation,
                                             T neutral, SharedPointer<T> scratch) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
#pragma unroll
  for (int i = 0; i < count; ++i) values[i] = warp_reduce(values[i], operation);
  if (warps == 1) return;
  if (lane == 0) {
#pragma unroll
    for (int i = 0; i < count; ++i) scratch[32 * i + warp] = values[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < count; ++i) {
    const T of_warp = lane < warps ? static_cast<T>(scratch[32 * i + lane]) : neutral;
    values[i] = warp_reduce(of_warp, operation);
  }
  __syncthreads();  // scratch may be used again
}

template <class T>
__device__ __forceinline__ T block_sum(T value, SharedPointer<T> scratch) {
  T values[1] = {value};
  block_reduce(values, Plus(), T{}, scratch);
  return values[0];
}
__device__ __forceinline__ float block_maximum(float value, SharedPointer<float> scratch) {
  float values[1] = {value};
  block_reduce(values, Larger(), minus_infinity, scratch);
  return values[0];
}

/// A thread's share of a row that a block reads more than once: every blockDim-th vector of `width`
/// elements, the first `kept` of them in registers. What more there is, which only long rows have,
/// is loaded again: from the nearest cache.
template <class Value, int width, int kept>
class OwnVectors {
 public:
  /// body(number, col, value) of each, loaded by load(col).
  template <class Load, class Body>
  __device__ __forceinline__ void load_and_visit(std::int64_t cols, const Load& load,
                                                 const Body& body) {
#pragma unroll
    for (int i = 0; i < kept; ++i) {
      const std::int64_t col = col_of(i);
      if (col < cols) {
        values_[i] = load(col);
        body(i, col, values_[i]);
      }
    }
    visit_others(cols, load, body);
  }
  /// The same once more. Changes that body makes to a value that is kept, stay.
  template <class Load, class Body>
  __device__ __forceinline__ void visit(std::int64_t cols, const Load& load, const Body& body) {
#pragma unroll
    for (int i = 0; i < kept; ++i) {
      const std::int64_t col = col_of(i);
      if (col < cols) body(i, col, values_[i]);
    }
    visit_others(cols, load, body);
  }

 private:
  __device__ __forceinline__ static std::int64_t col_of(int i) {
    return (std::int64_t{i} * blockDim.x + threadIdx.x) * width;
  }
  template <class Load, class Body>
  __device__ __forceinline__ static void visit_others(std::int64_t cols, const Load& load,
                                                      const Body& body) {
    for (int i = kept; col_of(i) < cols; ++i) {
      Value value = load(col_of(i));
      body(i, col_of(i), value);
    }
  }

  Value values_[kept];
};

}  // namespace KUMIHIMO_CUDA_NAMESPACE
