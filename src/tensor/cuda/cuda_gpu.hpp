#pragma once

#include <memory>
#include <utility>

#include "tensor/cuda/algorithm_cache.hpp"
#include "tensor/cuda/cuda_queue.hpp"
#include "tensor/gpu.hpp"

namespace kumihimo::cuda {

class CudaGpu final : public Gpu {
 public:
  CudaGpu(const GpuFacts& facts, const GpuOptions& options,
          std::shared_ptr<AlgorithmCache> algorithms);

  const GpuFacts& facts() const override { return facts_; }
  std::unique_ptr<RawMemory> make_memory() override;
  std::unique_ptr<RawMemory> make_host_memory() override;
  std::unique_ptr<Kernels> make_kernels(Workspace& workspace) override;
  DeviceQueue& queue() override { return *queue_; }
  std::unique_ptr<DeviceQueue> make_queue() override;
  Bytes memory_in_use() override;
  void set_watch(std::function<void(double)> watch) override { context_->watch = std::move(watch); }

 private:
  GpuFacts facts_;
  GpuOptions options_;
  std::shared_ptr<AlgorithmCache> algorithms_;
  std::shared_ptr<QueueContext> context_;
  std::shared_ptr<CudaQueue> queue_;
};

}  // namespace kumihimo::cuda
