// Which GPUs' memory is opened to which, by stand-ins for the driver's functions.

#include "tensor/cuda/pool_access.hpp"

#include <cstdint>
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>
#include <set>
#include <utility>

namespace {

/// A pool's handle is its GPU's number, from 1.
struct Gpus {
  std::set<std::pair<int, int>> opened;       ///< owner, visitor
  std::set<std::pair<int, int>> unreachable;  ///< likewise
};

Gpus gpus;

}  // namespace

extern "C" {

cudaError_t cudaDeviceCanAccessPeer(int* possible, int visitor, int owner) {
  *possible = gpus.unreachable.contains({owner, visitor}) ? 0 : 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  *pool = reinterpret_cast<cudaMemPool_t>(static_cast<std::uintptr_t>(device) + 1);
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAccess(cudaMemPool_t pool, const cudaMemAccessDesc* accesses,
                                 size_t count) {
  for (const cudaMemAccessDesc* each = accesses; each != accesses + count; ++each) {
    EXPECT_EQ(each->location.type, cudaMemLocationTypeDevice);
    EXPECT_EQ(each->flags, cudaMemAccessFlagsProtReadWrite);
    gpus.opened.emplace(static_cast<int>(reinterpret_cast<std::uintptr_t>(pool)) - 1,
                        each->location.id);
  }
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t /*error*/) { return "an error"; }
const char* cudaGetErrorName(cudaError_t /*error*/) { return "an error"; }
}

namespace kumihimo::cuda {
namespace {

using Pairs = std::set<std::pair<int, int>>;

TEST(PoolAccess, GpusOfOneProcessReachEachOther) {
  gpus = {};
  PoolAccess access;
  access.join(2);
  EXPECT_EQ(gpus.opened, Pairs());  // alone
  access.join(0);
  EXPECT_EQ(gpus.opened, (Pairs{{0, 2}, {2, 0}}));
  access.join(5);
  access.join(0);  // a rank that shares it
  EXPECT_EQ(gpus.opened, (Pairs{{0, 2}, {2, 0}, {0, 5}, {5, 0}, {2, 5}, {5, 2}}));
}

TEST(PoolAccess, WhereTheHardwareCan) {
  gpus = {};
  gpus.unreachable = {{1, 0}};
  PoolAccess access;
  access.join(0);
  access.join(1);
  EXPECT_EQ(gpus.opened, (Pairs{{0, 1}}));
}

}  // namespace
}  // namespace kumihimo::cuda
