#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "support/emulated_cuda.hpp"
#include "support/lazy_gpu.hpp"

// Ways for a rank to have a GPU that does everything later (OpenGpu of training_runs.hpp).

namespace kumihimo::testing {

/// With the kernels of the host.
inline std::unique_ptr<Gpu> open_lazily(int rank) { return std::make_unique<LazyGpu>(rank); }

/// With the CUDA kernels, on an emulated GPU. `seed`: of the order in which threads and blocks run.
inline std::function<std::unique_ptr<Gpu>(int rank)> open_emulated(std::uint64_t seed) {
  return [seed](int rank) {
    return std::make_unique<LazyGpu>(
        rank, [seed](Workspace& workspace) { return make_emulated_cuda_kernels(workspace, seed); });
  };
}

}  // namespace kumihimo::testing
