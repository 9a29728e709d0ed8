#pragma once

#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.hpp"
#include "tensor/device_memory.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo::testing {

/// One rank's kernels with memory of their own.
struct Device {
  explicit Device(Backend backend) {
    if (backend == Backend::reference) {
      kernels = make_reference_kernels(workspace);
    } else {
      KUMIHIMO_CHECK(backend == Backend::cpu);
      constexpr int threads = 2;
      kernels = std::move(*make_cpu_kernels(workspace, threads));
    }
  }

  DeviceMemory memory{make_host_memory()};
  Workspace workspace{memory};
  std::unique_ptr<Kernels> kernels;
};

/// Those of this build whose memory is the host's.
inline std::vector<Backend> host_backends() {
  std::vector<Backend> backends{Backend::reference};
  DeviceMemory memory(make_host_memory());
  Workspace workspace(memory);
  if (make_cpu_kernels(workspace, 1)) backends.push_back(Backend::cpu);
  return backends;
}

/// A test of what kernels.hpp promises, run on every back end. Instantiate a subclass with
///   INSTANTIATE_TEST_SUITE_P(On, Norms, testing::ValuesIn(host_backends()), backend_name);
class KernelsTest : public ::testing::TestWithParam<Backend> {
 protected:
  Device device{GetParam()};
  Kernels& kernels = *device.kernels;
};

inline std::string backend_name(const ::testing::TestParamInfo<Backend>& info) {
  return std::string(to_string(info.param));
}

}  // namespace kumihimo::testing
