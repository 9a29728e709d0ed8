#pragma once

#include <mutex>
#include <vector>

namespace kumihimo::cuda {

/// Which GPUs of this process reach each other's memory. NCCL has GPUs of one process read and
/// write their ranks' buffers by address. What cudaMalloc gives is open to a peer from
/// cudaDeviceEnablePeerAccess on, which NCCL calls; what cudaMallocAsync gives belongs to a pool,
/// which has to be opened by itself, or the first collective is an illegal access (CUDA C++
/// Programming Guide, "Stream Ordered Memory Allocator, Device Accessibility for Multi-GPU
/// Support"; NCCL's NCCL_P2P_DIRECT_DISABLE). For all threads.
class PoolAccess {
 public:
  /// Opens the pool of `ordinal` to the GPUs that joined before, and theirs to it, where the
  /// hardware can. Joining again does nothing.
  void join(int ordinal);

 private:
  std::mutex mutex_;
  std::vector<int> joined_;
};

}  // namespace kumihimo::cuda
