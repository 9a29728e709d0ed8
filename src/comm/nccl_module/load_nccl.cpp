#include "comm/nccl_module_entry.hpp"
#include "tensor/module_file.hpp"

namespace kumihimo {

Expected<std::shared_ptr<GpuConnector>> load_nccl() {
  const auto function =
      function_of_module(nccl_module_file, nccl_module_symbol, "CUDA 13's runtime and NCCL 2");
  if (!function) return function.errors();
  Errors faults;
  const auto entry = reinterpret_cast<NcclModuleEntry>(*function);
  std::shared_ptr<GpuConnector> connector = entry(KUMIHIMO_VERSION, faults);
  if (!connector) return faults;
  return connector;
}

}  // namespace kumihimo
