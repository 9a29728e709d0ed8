#include "tensor/cuda/pool_access.hpp"

#include <algorithm>

#include "tensor/cuda/cuda_call.hpp"

namespace kumihimo::cuda {
namespace {

/// Memory of `owner` that is given, or has been, can be read and written from `visitor`.
void open_pool(int owner, int visitor) {
  int possible = 0;
  check(cudaDeviceCanAccessPeer(&possible, visitor, owner));
  if (possible == 0) return;  // NCCL goes another way
  cudaMemPool_t pool = nullptr;
  check(cudaDeviceGetDefaultMemPool(&pool, owner));
  cudaMemAccessDesc access{};
  access.location.type = cudaMemLocationTypeDevice;
  access.location.id = visitor;
  access.flags = cudaMemAccessFlagsProtReadWrite;
  check(cudaMemPoolSetAccess(pool, &access, 1));
}

}  // namespace

void PoolAccess::join(int ordinal) {
  const std::lock_guard lock(mutex_);
  if (std::ranges::find(joined_, ordinal) != joined_.end()) return;
  for (const int other : joined_) {
    open_pool(ordinal, other);
    open_pool(other, ordinal);
  }
  joined_.push_back(ordinal);
}

}  // namespace kumihimo::cuda
