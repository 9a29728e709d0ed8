#include "comm/gpu_communicator.hpp"

namespace kumihimo {

Expected<std::shared_ptr<GpuConnector>> load_nccl() {
  return Error{"--backend",
               "\"cuda\" on several GPUs needs NCCL, which this program was built without",
               "install NCCL's development package and build again, or use one GPU"};
}

}  // namespace kumihimo
