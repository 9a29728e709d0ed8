#include "tensor/cuda/cuda_gpu.hpp"

#include "tensor/cuda/cuda_kernels.hpp"
#include "tensor/cuda/cuda_memory.hpp"

namespace kumihimo::cuda {

CudaGpu::CudaGpu(const GpuFacts& facts, const GpuOptions& options,
                 std::shared_ptr<AlgorithmCache> algorithms)
    : facts_(facts),
      options_(options),
      algorithms_(std::move(algorithms)),
      context_(std::make_shared<QueueContext>(facts.ordinal)),
      queue_(std::make_shared<CudaQueue>(context_, OwnedStream::Priority::normal)) {}

std::unique_ptr<RawMemory> CudaGpu::make_memory() {
  return std::make_unique<CudaMemory>(queue_, facts_.memory);
}

std::unique_ptr<RawMemory> CudaGpu::make_host_memory() {
  return std::make_unique<PinnedMemory>(facts_.ordinal);
}

std::unique_ptr<Kernels> CudaGpu::make_kernels(Workspace& workspace) {
  use_device(facts_.ordinal);
  return std::make_unique<CudaKernels>(workspace, queue_, facts_, options_, algorithms_);
}

std::unique_ptr<DeviceQueue> CudaGpu::make_queue() {
  return std::make_unique<CudaQueue>(context_, OwnedStream::Priority::high);
}

Bytes CudaGpu::memory_in_use() {
  use_device(facts_.ordinal);
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total));
  return static_cast<Bytes>(total - free);
}

}  // namespace kumihimo::cuda
