#pragma once

#include <gtest/gtest.h>
#include <memory>
#include <string>

#include "tensor/gpu.hpp"

namespace kumihimo::testing {

/// The CUDA back end of this machine, or why its tests are skipped.
struct RealGpus {
  RealGpus() {
    auto loaded = load_cuda();
    if (!loaded) {
      why_not = to_string(loaded.errors());
    } else if (why_not = (*loaded)->why_unusable(0); why_not.empty()) {
      backend = *std::move(loaded);
    }
  }

  /// GPU 0 with the library's first algorithms: the same bits on every run.
  std::unique_ptr<Gpu> open(GpuOptions options = {}) const {
    options.tune_products = false;
    return backend->open(0, options);
  }

  std::shared_ptr<CudaBackend> backend;
  std::string why_not;
};

}  // namespace kumihimo::testing

/// Ends a test as skipped where there is no GPU.
#define KUMIHIMO_NEEDS_GPU(gpus) \
  if (!(gpus).backend) GTEST_SKIP() << "no GPU: " << (gpus).why_not
