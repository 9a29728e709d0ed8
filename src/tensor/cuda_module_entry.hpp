#pragma once

#include "tensor/gpu.hpp"

namespace kumihimo {

// The CUDA back end is a module of its own, libkumihimo_cuda.so: linked into the program, NVIDIA's
// libraries would have to be there on every machine that only plans, and would cost each start a
// seventh of a second and 200 MiB.

inline constexpr const char* cuda_module_file = "libkumihimo_cuda.so";
inline constexpr const char* cuda_module_symbol = "kumihimo_cuda_backend";

/// The module's one function. `version`: the program's, which must be the module's. Null: `faults`
/// says why.
using CudaModuleEntry = std::shared_ptr<CudaBackend> (*)(const char* version, Errors& faults);

}  // namespace kumihimo
