#include <dlfcn.h>
#include <fmt/format.h>

#include "tensor/cuda_module_entry.hpp"

namespace kumihimo {

Expected<std::shared_ptr<CudaBackend>> load_cuda() {
  // By name: the program's run path says where it lies. It is never unloaded, since NVIDIA's
  // libraries do not like to go before the process.
  void* module = dlopen(cuda_module_file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (module == nullptr) {
    return Error{"--backend", fmt::format("\"cuda\" cannot be loaded: {}", dlerror()),
                 fmt::format("install {} with the program, and the CUDA 13 runtime with cuBLASLt "
                             "and cuDNN 9 where the linker finds them (LD_LIBRARY_PATH)",
                             cuda_module_file)};
  }
  const auto entry = reinterpret_cast<CudaModuleEntry>(dlsym(module, cuda_module_symbol));
  if (entry == nullptr) {
    return Error{"--backend", fmt::format("{} is no module of this program", cuda_module_file),
                 "install program and module together"};
  }
  Errors faults;
  std::shared_ptr<CudaBackend> backend = entry(KUMIHIMO_VERSION, faults);
  if (!backend) return faults;
  return backend;
}

}  // namespace kumihimo
