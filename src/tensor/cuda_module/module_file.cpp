#include "tensor/module_file.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

namespace kumihimo {

Expected<void*> function_of_module(const std::string& file, const std::string& symbol,
                                   const std::string& needs) {
  void* module = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (module == nullptr) {
    return Error{"--backend", fmt::format("\"cuda\" cannot be loaded: {}", dlerror()),
                 fmt::format("install {} with the program, and {} where the linker finds them "
                             "(LD_LIBRARY_PATH)",
                             file, needs)};
  }
  void* function = dlsym(module, symbol.c_str());
  if (function == nullptr) {
    return Error{"--backend", fmt::format("{} is no module of this program", file),
                 "install program and module together"};
  }
  return function;
}

}  // namespace kumihimo
