#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "tensor/device_memory.hpp"
#include "tensor/device_queue.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo {

/// A GPU as its driver describes it.
struct GpuFacts {
  int ordinal = 0;   ///< as the driver counts
  std::string name;  ///< "NVIDIA H200"
  std::string uuid;  ///< the same for two ranks exactly where they share the GPU
  int major = 0;     ///< compute capability
  int minor = 0;
  int multiprocessors = 0;
  Bytes memory = 0;
  int flash_head_fp32 = 0;  ///< the largest heads that our own flash attention takes here
  int flash_head_bf16 = 0;

  /// Elements of a head, which is fp32 or bf16.
  int largest_flash_head(DType dtype) const {
    return dtype == DType::fp32 ? flash_head_fp32 : flash_head_bf16;
  }
};

/// How a GPU's kernels compute where there is a choice.
struct GpuOptions {
  bool tf32 = false;              ///< fp32 products with 10 bits of mantissa, on the tensor cores
  bool tune_products = true;      ///< time the library's algorithms for each shape, once
  bool library_attention = true;  ///< cuDNN's flash attention where it can, else our own
};

/// One rank's GPU: memory, kernels and the queue on which they run. Outlives what it makes. For the
/// rank's thread, but for queues.
class Gpu {
 public:
  virtual ~Gpu() = default;

  virtual const GpuFacts& facts() const = 0;
  virtual std::unique_ptr<RawMemory> make_memory() = 0;
  /// Host memory that queues copy from and to beside other work. For the host, too.
  virtual std::unique_ptr<RawMemory> make_host_memory() = 0;
  /// `workspace`: of memory that make_memory has made.
  virtual std::unique_ptr<Kernels> make_kernels(Workspace& workspace) = 0;
  /// The rank's own work: all that its kernels do.
  virtual DeviceQueue& queue() = 0;
  /// Another queue, for what runs beside it. Work there is urgent: it is communication.
  virtual std::unique_ptr<DeviceQueue> make_queue() = 0;
  /// Of the GPU, by all its users together, as the driver counts it.
  virtual Bytes memory_in_use() = 0;
  /// Called every few milliseconds while a thread of this rank waits for the GPU, on that thread,
  /// with the seconds it has waited; ends the wait by an exception. Null: nobody watches.
  virtual void set_watch(std::function<void(double waited_s)> watch) = 0;
};

/// The memory of a rank that computes on `gpu`, or on the host where that is null.
inline std::unique_ptr<RawMemory> memory_of(Gpu* gpu) {
  return gpu != nullptr ? gpu->make_memory() : make_host_memory();
}

/// The host memory of such a rank.
inline std::unique_ptr<RawMemory> host_memory_for(Gpu* gpu) {
  return gpu != nullptr ? gpu->make_host_memory() : make_host_memory();
}

/// The CUDA back end, loaded when it is asked for. Devices hold on to what they need of it; it
/// remembers which algorithms were fastest, for all of them.
class CudaBackend {
 public:
  virtual ~CudaBackend() = default;
  /// In the driver's order; at least one.
  virtual const std::vector<GpuFacts>& devices() const = 0;
  /// "CUDA 13.0, driver 13.0, cuBLASLt 13.1, cuDNN 9.19".
  virtual std::string versions() const = 0;
  /// Built with cuDNN.
  virtual bool has_library_attention() const = 0;
  /// Why this program cannot compute on a GPU; empty where it can. Asking begins to use it, which
  /// takes some hundred megabytes of its memory: for GPUs of this process's ranks.
  virtual std::string why_unusable(int ordinal) = 0;
  /// Throws std::runtime_error where the driver refuses. GPUs that are opened by one process reach
  /// each other's memory where the hardware can. Any thread.
  virtual std::unique_ptr<Gpu> open(int ordinal, const GpuOptions& options) = 0;
};

/// An Error, with a remedy, where the program was built without CUDA, or where its module, the
/// driver, a library or a GPU is missing.
Expected<std::shared_ptr<CudaBackend>> load_cuda();

}  // namespace kumihimo
