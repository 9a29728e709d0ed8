#pragma once

#include <cstdint>

#include "tensor/device_memory.hpp"

namespace kumihimo::cuda {

/// Memory for a library's own use until the workspace's scope ends; null for 0 bytes. Aligned to
/// 256 bytes, as all that cudaMalloc gives and what cuBLAS's and cuDNN's kernels are used with.
inline void* take_scratch(Workspace& workspace, std::int64_t bytes) {
  constexpr std::int64_t alignment = 256;
  if (bytes == 0) return nullptr;
  const Matrix taken = workspace.take(1, bytes + alignment, DType::fp8_e4m3);  // bytes
  const auto address = reinterpret_cast<std::uintptr_t>(taken.data);
  return reinterpret_cast<void*>((address + alignment - 1) / alignment * alignment);
}

}  // namespace kumihimo::cuda
