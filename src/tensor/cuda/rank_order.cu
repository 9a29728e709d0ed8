#include <algorithm>
#include <cstdint>
#include <cuda_bf16.h>
#include <type_traits>

#include "tensor/cuda/cuda_call.hpp"
#include "tensor/cuda/rank_order.hpp"

namespace kumihimo::cuda {
namespace {

/// Pointers travel as a kernel's arguments, of which there are 4 KiB.
constexpr int most_ranks = 192;

struct Ranks {
  const std::byte* inputs[most_ranks];
  std::byte* outputs[most_ranks];
  int input_count;
  int output_count;
};

__device__ float widened(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ float widened(float x) { return x; }
__device__ double widened(double x) { return x; }
/// Unsigned, since a sum of int32 may wrap around.
__device__ std::uint32_t widened(std::int32_t x) { return static_cast<std::uint32_t>(x); }

__device__ void narrow(float value, __nv_bfloat16& out) { out = __float2bfloat16_rn(value); }
__device__ void narrow(float value, float& out) { out = value; }
__device__ void narrow(double value, double& out) { out = value; }
__device__ void narrow(std::uint32_t value, std::int32_t& out) {
  out = static_cast<std::int32_t>(value);
}

template <class T>
__device__ T larger(T a, T b) {
  return a < b || b != b ? b : a;  // b != b: a NaN
}
template <>
__device__ std::uint32_t larger(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::int32_t>(a) < static_cast<std::int32_t>(b) ? b : a;
}

template <class Element, Reduction reduction>
__global__ void reduce_ranks(const Ranks ranks, std::int64_t first, std::int64_t count) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step) {
    const auto in = [&](int rank) {
      return widened(reinterpret_cast<const Element*>(ranks.inputs[rank])[first + i]);
    };
    auto sum = in(0);
    for (int rank = 1; rank < ranks.input_count; ++rank) {
      if constexpr (reduction == Reduction::sum) {
        sum += in(rank);
      } else {
        sum = larger(sum, in(rank));
      }
    }
    Element result;
    narrow(sum, result);
    for (int k = 0; k < ranks.output_count; ++k) {
      reinterpret_cast<Element*>(ranks.outputs[k])[first + i] = result;
    }
  }
}

template <class Element>
void launch(const Ranks& ranks, ElementRange range, Reduction reduction, cudaStream_t stream) {
  constexpr int threads = 256;
  constexpr std::int64_t most_blocks = 2048;
  const auto blocks = static_cast<unsigned>(
      std::min<std::int64_t>(most_blocks, (range.count + threads - 1) / threads));
  const auto kernel = reduction == Reduction::sum ? reduce_ranks<Element, Reduction::sum>
                                                  : reduce_ranks<Element, Reduction::max>;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(threads);
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, ranks, range.first, range.count));
}

}  // namespace

bool has_code_for_device() {
  cudaFuncAttributes attributes{};
  const bool found =
      cudaFuncGetAttributes(&attributes, reduce_ranks<float, Reduction::sum>) == cudaSuccess;
  static_cast<void>(cudaGetLastError());
  return found;
}

void reduce_on_device(std::span<const std::byte* const> inputs, std::span<std::byte* const> outputs,
                      ElementRange range, DType dtype, Reduction reduction, cudaStream_t stream) {
  KUMIHIMO_CHECK(inputs.size() <= most_ranks && outputs.size() <= most_ranks);
  if (range.count == 0) return;
  Ranks ranks{};
  std::copy(inputs.begin(), inputs.end(), ranks.inputs);
  std::copy(outputs.begin(), outputs.end(), ranks.outputs);
  ranks.input_count = static_cast<int>(inputs.size());
  ranks.output_count = static_cast<int>(outputs.size());
  switch (dtype) {
    case DType::fp64: return launch<double>(ranks, range, reduction, stream);
    case DType::fp32: return launch<float>(ranks, range, reduction, stream);
    case DType::bf16: return launch<__nv_bfloat16>(ranks, range, reduction, stream);
    case DType::int32: return launch<std::int32_t>(ranks, range, reduction, stream);
    case DType::fp8_e4m3:
    case DType::fp8_e5m2: break;
  }
  KUMIHIMO_CHECK(false && "a dtype that has a sum");
}

}  // namespace kumihimo::cuda
