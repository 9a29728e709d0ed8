#include "measure/machine.hpp"

#include <gtest/gtest.h>

namespace kumihimo {
namespace {

TEST(MeasuredMachine, OffloadedStatesHaveItsWholeMemory) {
  MachineFigures figures;
  figures.cores = 4;
  figures.memory = Bytes{8} << 30;
  const Cluster cluster = cluster_of(figures, 4, 0);
  EXPECT_EQ(cluster.device.memory, Bytes{2} << 30);
  EXPECT_EQ(cluster.host_memory, Bytes{8} << 30);
}

}  // namespace
}  // namespace kumihimo
