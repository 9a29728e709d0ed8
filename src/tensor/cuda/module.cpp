// The module's entry: what load_cuda (tensor/cuda_module) looks for.

#include <cstring>
#include <fmt/format.h>
#include <map>
#include <mutex>
#include <string>

#include "tensor/cuda/cuda_gpu.hpp"
#include "tensor/cuda/fused_attention.hpp"
#include "tensor/cuda/pool_access.hpp"
#include "tensor/cuda/products.hpp"
#include "tensor/cuda/rank_order.hpp"
#include "tensor/cuda/simt_kernels.hpp"
#include "tensor/cuda_module_entry.hpp"

namespace kumihimo::cuda {
namespace {

constexpr int least_major = 8;

/// 13000: "13.0".
std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string hexadecimal(const cudaUUID_t& uuid) {
  std::string text;
  for (const char byte : uuid.bytes)
    text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

/// Asks the driver only: a process that only looks takes no memory of the GPU, on which it may have
/// no rank.
GpuFacts facts_of(int ordinal) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, ordinal));
  GpuFacts facts;
  facts.ordinal = ordinal;
  facts.name = properties.name;
  facts.uuid = hexadecimal(properties.uuid);
  facts.major = properties.major;
  facts.minor = properties.minor;
  facts.multiprocessors = properties.multiProcessorCount;
  const auto block_bytes = static_cast<Bytes>(properties.sharedMemPerBlockOptin);
  facts.flash_head_fp32 = largest_flash_head(DType::fp32, block_bytes);
  facts.flash_head_bf16 = largest_flash_head(DType::bf16, block_bytes);
  facts.memory = static_cast<Bytes>(properties.totalGlobalMem);
  return facts;
}

/// Why this module cannot compute on a GPU; empty where it can.
std::string why_not(const GpuFacts& facts) {
  const std::string what =
      fmt::format("{} has compute capability {}.{}", facts.name, facts.major, facts.minor);
  if (facts.major < least_major) return what + ": 8.0 or later is needed (A100, H100, ...)";
  use_device(facts.ordinal);
  if (has_code_for_device()) return "";
  return what + fmt::format(
                    ", for which this program has no code: build it with "
                    "-DKUMIHIMO_CUDA_ARCHITECTURES={}{}-real",
                    facts.major, facts.minor);
}

class LoadedBackend final : public CudaBackend {
 public:
  explicit LoadedBackend(std::vector<GpuFacts> devices) : devices_(std::move(devices)) {}

  const std::vector<GpuFacts>& devices() const override { return devices_; }

  std::string versions() const override {
    int runtime = 0, driver = 0;
    check(cudaRuntimeGetVersion(&runtime));
    check(cudaDriverGetVersion(&driver));
    std::string text = fmt::format("CUDA {}, driver for {}, cuBLASLt {}", version_text(runtime),
                                   version_text(driver), cublaslt_version());
    const std::string attention = fused_attention_version();
    return attention.empty() ? text : text + ", cuDNN " + attention;
  }

  bool has_library_attention() const override { return !fused_attention_version().empty(); }

  std::string why_unusable(int ordinal) override { return why_not(device(ordinal)); }

  std::unique_ptr<Gpu> open(int ordinal, const GpuOptions& options) override {
    use_device(ordinal);
    pools_.join(ordinal);
    return std::make_unique<CudaGpu>(device(ordinal), options, algorithms_of(device(ordinal)));
  }

 private:
  /// Of all GPUs of one kind: another has no such kernel, or is faster with another.
  std::shared_ptr<AlgorithmCache> algorithms_of(const GpuFacts& facts) {
    const std::lock_guard lock(mutex_);
    auto& algorithms = algorithms_[facts.name];
    if (!algorithms) algorithms = std::make_shared<AlgorithmCache>();
    return algorithms;
  }
  const GpuFacts& device(int ordinal) const {
    KUMIHIMO_CHECK(ordinal >= 0 && ordinal < std::ssize(devices_));
    return devices_[static_cast<std::size_t>(ordinal)];
  }

  std::vector<GpuFacts> devices_;
  PoolAccess pools_;
  std::mutex mutex_;  // of algorithms_
  std::map<std::string, std::shared_ptr<AlgorithmCache>> algorithms_;
};

/// The GPUs of this machine, or why there is none to be used.
Expected<std::vector<GpuFacts>> find_devices() {
  int driver = 0;
  static_cast<void>(cudaDriverGetVersion(&driver));
  if (driver == 0) {
    return Error{"--backend", "\"cuda\" finds no NVIDIA driver on this machine",
                 "install the driver, or use --backend cpu"};
  }
  int count = 0;
  const cudaError_t result = cudaGetDeviceCount(&count);
  static_cast<void>(cudaGetLastError());
  if (result == cudaErrorInsufficientDriver) {
    return Error{"--backend",
                 fmt::format("\"cuda\" needs a newer driver: this one is for CUDA {}, the program "
                             "was built with {}",
                             version_text(driver), version_text(CUDART_VERSION)),
                 "update the driver, or build with an older toolkit"};
  }
  if (result != cudaSuccess || count == 0) {
    const bool nothing = result == cudaSuccess || result == cudaErrorNoDevice;
    return Error{"--backend",
                 nothing
                     ? std::string("\"cuda\" finds no GPU")
                     : fmt::format("\"cuda\" cannot ask for GPUs: {}", cudaGetErrorString(result)),
                 "check nvidia-smi and CUDA_VISIBLE_DEVICES, or use --backend cpu"};
  }
  std::vector<GpuFacts> devices;
  for (int ordinal = 0; ordinal < count; ++ordinal) devices.push_back(facts_of(ordinal));
  return devices;
}

std::shared_ptr<CudaBackend> make_backend(const char* version, Errors& faults) {
  if (std::strcmp(version, KUMIHIMO_VERSION) != 0) {
    faults.push_back({cuda_module_file,
                      fmt::format("is of version {}, the program of {}", KUMIHIMO_VERSION, version),
                      "install both together"});
    return nullptr;
  }
  try {
    const auto devices = find_devices();
    if (devices) return std::make_shared<LoadedBackend>(*devices);
    faults = devices.errors();
  } catch (const std::exception& error) {
    faults.push_back({"--backend", fmt::format("\"cuda\" does not start: {}", error.what()),
                      "check the GPU with nvidia-smi, or use --backend cpu"});
  }
  return nullptr;
}

}  // namespace
}  // namespace kumihimo::cuda

// Returns a C++ object: program and module come from one build.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wreturn-type-c-linkage"
#endif
extern "C" __attribute__((visibility("default"))) std::shared_ptr<kumihimo::CudaBackend>
kumihimo_cuda_backend(const char* version, kumihimo::Errors& faults) {
  return kumihimo::cuda::make_backend(version, faults);
}
