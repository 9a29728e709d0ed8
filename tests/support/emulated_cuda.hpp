#pragma once

#include <cstdint>
#include <memory>

#include "tensor/kernels.hpp"

namespace kumihimo::testing {

/// The CUDA kernels of src/tensor/cuda, compiled for an emulated GPU (src/tensor/cuda_emulation) in
/// host memory, with the reference's matrix products. `seed` decides the order in which threads and
/// blocks run. Throws cuda_emulation::Fault where a kernel does what a GPU would not forgive.
std::unique_ptr<Kernels> make_emulated_cuda_kernels(Workspace& workspace, std::uint64_t seed = 1);

/// As SimtKernels' file says of a GPU whose blocks may have so much shared memory.
int largest_flash_head(DType dtype, Bytes block_bytes);

}  // namespace kumihimo::testing
