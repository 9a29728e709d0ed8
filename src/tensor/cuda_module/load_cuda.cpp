#include "tensor/cuda_module_entry.hpp"
#include "tensor/module_file.hpp"

namespace kumihimo {

Expected<std::shared_ptr<CudaBackend>> load_cuda() {
  const auto function = function_of_module(cuda_module_file, cuda_module_symbol,
                                           "CUDA 13's runtime, cuBLASLt and cuDNN 9");
  if (!function) return function.errors();
  Errors faults;
  const auto entry = reinterpret_cast<CudaModuleEntry>(*function);
  std::shared_ptr<CudaBackend> backend = entry(KUMIHIMO_VERSION, faults);
  if (!backend) return faults;
  return backend;
}

}  // namespace kumihimo
