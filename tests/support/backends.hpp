#pragma once

#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/emulated_cuda.hpp"
#include "support/mirrored_kernels.hpp"
#include "support/real_gpu.hpp"
#include "tensor/device_memory.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo::testing {

/// The back ends that take the host's matrices. `emulated_cuda`: the CUDA kernels on an emulated
/// GPU; `cuda`: on a real one, to which the matrices are copied for every call.
enum class HostBackend { reference, cpu, emulated_cuda, cuda };

/// One rank's kernels with memory of their own.
struct Device {
  explicit Device(HostBackend backend)
      : gpu(backend == HostBackend::cuda ? RealGpus().open() : nullptr),
        memory(memory_of(gpu.get())) {
    switch (backend) {
      case HostBackend::reference: kernels = make_reference_kernels(workspace); break;
      case HostBackend::cpu: {
        constexpr int threads = 2;
        kernels = std::move(*make_cpu_kernels(workspace, threads));
        break;
      }
      case HostBackend::emulated_cuda: kernels = make_emulated_cuda_kernels(workspace); break;
      case HostBackend::cuda:
        kernels = std::make_unique<MirroredKernels>(memory, gpu->make_kernels(workspace));
        break;
    }
  }

  std::unique_ptr<Gpu> gpu;
  DeviceMemory memory;
  Workspace workspace{memory};
  std::unique_ptr<Kernels> kernels;
};

/// Those of this build and this machine.
inline std::vector<HostBackend> host_backends() {
  std::vector<HostBackend> backends{HostBackend::reference, HostBackend::emulated_cuda};
  DeviceMemory memory(make_host_memory());
  Workspace workspace(memory);
  if (make_cpu_kernels(workspace, 1)) backends.push_back(HostBackend::cpu);
  if (RealGpus().backend) backends.push_back(HostBackend::cuda);
  return backends;
}

/// A test of what kernels.hpp promises, run on every back end. Instantiate a subclass with
///   INSTANTIATE_TEST_SUITE_P(On, Norms, testing::ValuesIn(host_backends()), backend_name);
class KernelsTest : public ::testing::TestWithParam<HostBackend> {
 protected:
  Device device{GetParam()};
  Kernels& kernels = *device.kernels;
};

inline std::string to_string(HostBackend backend) {
  switch (backend) {
    case HostBackend::reference: return "reference";
    case HostBackend::cpu: return "cpu";
    case HostBackend::emulated_cuda: return "emulated_cuda";
    case HostBackend::cuda: return "cuda";
  }
  return "?";
}

inline std::string backend_name(const ::testing::TestParamInfo<HostBackend>& info) {
  return to_string(info.param);
}

inline void PrintTo(HostBackend backend, std::ostream* out) { *out << to_string(backend); }

}  // namespace kumihimo::testing
