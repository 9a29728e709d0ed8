#include "tensor/kernels.hpp"

namespace kumihimo {

Expected<std::unique_ptr<Kernels>> make_cuda_kernels(Workspace& /*workspace*/) {
  return Error{"--backend", "\"cuda\" is not part of this program", "use --backend cpu"};
}

}  // namespace kumihimo
