#include "tensor/gpu.hpp"

namespace kumihimo {

Expected<std::shared_ptr<CudaBackend>> load_cuda() {
  return Error{"--backend", "\"cuda\" is not part of this program, which was built without CUDA",
               "install NVIDIA's CUDA toolkit and build again, or use --backend cpu"};
}

}  // namespace kumihimo
