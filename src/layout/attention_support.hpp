#pragma once

#include <cstdint>
#include <limits>

#include "base/precision.hpp"
#include "cluster/cluster.hpp"
#include "model/kernels.hpp"

// What attention kernels take. The tiled ones of GPUs are those of FlashAttention (README of
// github.com/Dao-AILab/flash-attention) and, in the first two generations, of others who take fp32
// as well: CUTLASS's, as PyTorch and xFormers use them, and Kumihimo's own. On CPUs all are our
// own, and take every head.

namespace kumihimo {

/// Tiled kernels for Volta stop at the first generation (CUTLASS, as xFormers uses it); the third
/// is built on Hopper's asynchronous matrix instructions (Shah et al. 2024, arXiv:2407.08608).
inline bool has_kernel(const Device& device, AttentionKernel kernel) {
  if (kernel == AttentionKernel::flash2) return device.architecture != "volta";
  return kernel != AttentionKernel::flash3 || device.architecture == "hopper";
}

/// Whether layers of that precision can hand the kernel what it reads: fp8 flows as bf16.
constexpr bool takes_precision(AttentionKernel kernel, Precision precision) {
  return kernel != AttentionKernel::flash3 || stored_as(precision) != Precision::fp32;
}

/// Elements of the widest head.
inline std::int64_t widest_head(const Device& device, AttentionKernel kernel) {
  const bool first = kernel == AttentionKernel::flash1;
  const bool any = !is_flash(kernel) || device.architecture == "cpu" ||
                   (first && device.architecture == "volta");
  return any ? std::numeric_limits<std::int64_t>::max() : first ? 128 : 256;
}

}  // namespace kumihimo
