#pragma once

// The small vocabulary in which the kernels are written. nvcc reads it as what it stands for on a
// GPU; other compilers (the tests') get the same names from an emulation, in which a block's
// threads are fibers and misuse is an exception: see tensor/cuda_emulation/simt.hpp.
//
//   threadIdx, blockIdx, blockDim, gridDim, __syncthreads, __syncwarp, __shfl_*_sync   as in CUDA
//   Bf16, widened, narrowed, narrowed_pair, fast_exp2, bits_of, float_of   numbers
//   fp8_code, fp8_pair, fp8_value
//   SharedMemory, SharedPointer<T>                                        dynamic shared memory
//   Vector<T, count>, load_vector, store_vector, store_global_vector      up to 16 bytes at once
//   copy_async, commit_copies, wait_for_copies                            cp.async
//   load_matrices, load_matrices_transposed, multiply_16x8x16             ldmatrix, mma.sync
//   __grid_constant__   a large argument that all threads read where it is
//   launch(kernel, {grid, threads, shared bytes}, stream, arguments...)

#ifndef __CUDACC__

#include "tensor/cuda_emulation/simt.hpp"

#else

#include <cstddef>
#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <string>

#include "tensor/cuda/cuda_call.hpp"
#include "tensor/cuda/simt_namespace.hpp"

namespace KUMIHIMO_CUDA_NAMESPACE {

// --- Numbers. fp32 to narrow formats: to nearest, ties to even.

struct Bf16 {
  std::uint16_t bits;
};

__device__ __forceinline__ float widened(Bf16 value) {
  return __uint_as_float(static_cast<std::uint32_t>(value.bits) << 16);
}
__device__ __forceinline__ Bf16 narrowed(float value) {
  return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
}
/// Two in one register, the first in the lower half.
__device__ __forceinline__ std::uint32_t narrowed_pair(float first, float second) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
  return std::uint32_t{__bfloat16_as_ushort(pair.x)} |
         (std::uint32_t{__bfloat16_as_ushort(pair.y)} << 16);
}
__device__ __forceinline__ std::uint32_t bits_of(float value) { return __float_as_uint(value); }
__device__ __forceinline__ float float_of(std::uint32_t bits) { return __uint_as_float(bits); }

/// 2^x to within 2^-22, in one instruction: for exponents that are rounded soon after.
__device__ __forceinline__ float fast_exp2(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

/// The code of e4m3, or of e5m2; beyond the largest number: the largest.
template <bool e4m3>
__device__ __forceinline__ std::uint8_t fp8_code(float value) {
  return __nv_cvt_float_to_fp8(value, __NV_SATFINITE, e4m3 ? __NV_E4M3 : __NV_E5M2);
}
/// Two codes, the first in the lower half: one instruction for both.
template <bool e4m3>
__device__ __forceinline__ std::uint16_t fp8_pair(float first, float second) {
  return __nv_cvt_float2_to_fp8x2({first, second}, __NV_SATFINITE, e4m3 ? __NV_E4M3 : __NV_E5M2);
}
template <bool e4m3>
__device__ __forceinline__ float fp8_value(std::uint8_t code) {
  return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, e4m3 ? __NV_E4M3 : __NV_E5M2)));
}

// --- The lanes of a warp

constexpr unsigned all_lanes = 0xffff'ffff;

// --- Memory

template <class T>
using SharedPointer = T*;

/// The block's dynamic shared memory, handed out from its start. Every thread takes the same.
class SharedMemory {
 public:
  template <class T>
  __device__ __forceinline__ SharedPointer<T> take(int count) {
    extern __shared__ __align__(128) unsigned char shared_memory[];
    unsigned char* const begin = shared_memory + taken_;
    taken_ += (count * static_cast<int>(sizeof(T)) + 15) / 16 * 16;
    return reinterpret_cast<T*>(begin);
  }

 private:
  int taken_ = 0;
};

constexpr std::size_t piece_bytes(std::size_t bytes) { return bytes < 16 ? bytes : 16; }

/// Aligned to its size, or to 16 bytes where it is larger.
template <class T, int count>
struct alignas(piece_bytes(sizeof(T) * count)) Vector {
  T elements[count];
};

template <int count, class T>
__device__ __forceinline__ Vector<T, count> load_vector(const T* from) {
  return *reinterpret_cast<const Vector<T, count>*>(from);
}
template <class T, int count>
__device__ __forceinline__ void store_vector(T* to, const Vector<T, count>& vector) {
  *reinterpret_cast<Vector<T, count>*>(to) = vector;
}
/// To global memory, in one instruction. Left to itself, the compiler joins a store with one of
/// single elements on another branch, and then makes each of them a store of its own.
template <class T, int count>
__device__ __forceinline__ void store_global_vector(T* to, const Vector<T, count>& vector) {
  if constexpr (sizeof vector == 16) {
    std::uint32_t words[4];
    memcpy(words, &vector, sizeof words);
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)),
                 "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3])
                 : "memory");
  } else if constexpr (sizeof vector == 8) {
    std::uint32_t words[2];
    memcpy(words, &vector, sizeof words);
    asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)),
                 "r"(words[0]), "r"(words[1])
                 : "memory");
  } else {
    store_vector(to, vector);
  }
}

__device__ __forceinline__ std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

/// Begins to copy 16 or 4 bytes, or zeros where not valid (`from` is not read, but must be
/// aligned).
template <int bytes, class T>
__device__ __forceinline__ void copy_async(SharedPointer<T> to, const T* from, bool valid) {
  static_assert(bytes == 16 || bytes == 4);
  if constexpr (bytes == 16) {  // past the L1 cache
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(valid ? 4 : 0)
                 : "memory");
  }
}
/// What has begun since the last call is one group.
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Until all groups of this thread but the youngest `groups_left` are done.
template <int groups_left>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(groups_left) : "memory");
}

// --- Matrix units (PTX ISA: ldmatrix, mma.m16n8k16). By all lanes of a warp.

/// Four 8 x 8 matrices, rows at the addresses of lanes 0-7, 8-15, 16-23, 24-31: each lane gets two
/// neighbours of row lane / 4, the first in column 2 (lane % 4).
__device__ __forceinline__ void load_matrices(std::uint32_t (&registers)[4],
                                              SharedPointer<const Bf16> row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(shared_address(row))
               : "memory");
}
/// The same of the matrices transposed.
__device__ __forceinline__ void load_matrices_transposed(std::uint32_t (&registers)[4],
                                                         SharedPointer<const Bf16> row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(shared_address(row))
               : "memory");
}

/// sums [16 x 8] += a [16 x 16] b [16 x 8], of bf16, summed in fp32.
__device__ __forceinline__ void multiply_16x8x16(float (&sums)[4], const std::uint32_t (&a)[4],
                                                 const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// --- Launching

struct Launch {
  dim3 grid;
  unsigned threads = 0;  ///< a block; a multiple of 32
  std::size_t shared_bytes = 0;
};

/// Nothing where the grid is empty. The calling thread's GPU must be the stream's. Throws CudaError
/// where CUDA refuses.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Launch& shape, cudaStream_t stream,
            const Arguments&... arguments) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  const auto check_launch = [&](cudaError_t error) {
    if (error == cudaSuccess) return;
    const char* name = "?";
    cudaFuncGetName(&name, reinterpret_cast<const void*>(kernel));
    throw CudaError(std::string("CUDA does not launch ") + name + ": " + cudaGetErrorString(error));
  };
  constexpr std::size_t without_asking = std::size_t{48} << 10;
  if (shape.shared_bytes > without_asking) {
    check_launch(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(shape.shared_bytes)));
  }
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  // Says what became of this launch. cudaGetLastError, after <<<>>>, would also say what a library
  // on this thread tried before, was refused and did without.
  check_launch(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

}  // namespace KUMIHIMO_CUDA_NAMESPACE

#endif
