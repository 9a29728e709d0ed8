#pragma once

#include "comm/gpu_communicator.hpp"

namespace kumihimo {

// NCCL's side of several GPUs is a module of its own, libkumihimo_nccl.so, as the CUDA back end is
// (tensor/cuda_module_entry.hpp): one GPU needs no NCCL.

inline constexpr const char* nccl_module_file = "libkumihimo_nccl.so";
inline constexpr const char* nccl_module_symbol = "kumihimo_nccl_connector";

/// The module's one function. `version`: the program's. Null: `faults` says why.
using NcclModuleEntry = std::shared_ptr<GpuConnector> (*)(const char* version, Errors& faults);

}  // namespace kumihimo
