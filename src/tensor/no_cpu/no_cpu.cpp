#include "tensor/kernels.hpp"

namespace kumihimo {

Expected<std::unique_ptr<Kernels>> make_cpu_kernels(Workspace& /*workspace*/, int /*threads*/) {
  return Error{"--backend",
               "\"cpu\" needs oneDNN and Highway, which this program was built without",
               "install their development packages and build again, or use --backend reference"};
}

}  // namespace kumihimo
