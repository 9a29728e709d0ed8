#include "simulator/host_memory.hpp"

#include <gtest/gtest.h>

namespace kumihimo {
namespace {

/// Four pipeline ranks whose devices offload 10, 20, 30 and 40 bytes each.
double fullest(int tensor_parallel, int devices_per_node) {
  ParallelLayout layout;
  layout.tensor_parallel = tensor_parallel;
  layout.pipeline_parallel = 4;
  Cluster cluster;
  cluster.devices_per_node = devices_per_node;
  return fullest_node_host_bytes({10, 20, 30, 40}, layout, cluster);
}

TEST(HostMemory, AddsTheDevicesOfANode) {
  EXPECT_EQ(fullest(2, 1), 40);
  EXPECT_EQ(fullest(2, 2), 2 * 40);
  EXPECT_EQ(fullest(2, 4), 2 * 30 + 2 * 40);
  EXPECT_EQ(fullest(2, 8), 2 * (10 + 20 + 30 + 40));
  EXPECT_EQ(fullest(2, 16), 2 * (10 + 20 + 30 + 40));  // half empty
}

TEST(HostMemory, RanksMayStraddleNodes) {
  // Devices 0 0 1 | 1 2 2 | 3 3.
  EXPECT_EQ(fullest(2, 3), 20 + 30 + 30);
  // 0 0 0 0 0 | 0 0 0 1 1 | 1 ... : the last rank's 24 to 31 are 3 on the fifth and 5 on the sixth.
  EXPECT_EQ(fullest(8, 5), 5 * 40);
  // A rank's devices fill nodes of their own.
  EXPECT_EQ(fullest(64, 8), 8 * 40);
}

}  // namespace
}  // namespace kumihimo
