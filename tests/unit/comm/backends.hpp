#pragma once

#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "comm/world.hpp"

namespace kumihimo {

/// Nodes of four devices: 8 GB/s and 1 us within a node, 1 GB/s and 10 us between nodes.
inline Cluster cluster_of_nodes(int nodes) {
  Cluster cluster;
  cluster.name = "round";
  cluster.devices_per_node = 4;
  cluster.nodes = nodes;
  cluster.intra_node = {8e9, 1e-6};
  cluster.inter_node = {1e9, 1e-5};
  return cluster;
}

/// A back end whose ranks are threads of the test.
struct RankBackend {
  std::string name;
  void (*run)(int ranks, const RankBody& body);

  /// In the list of tests; else it is the bytes of a pointer, other ones in each run.
  friend void PrintTo(const RankBackend& backend, std::ostream* out) { *out << backend.name; }
};

inline std::vector<RankBackend> backends() {
  return {{"Threads", run_threads}, {"Emulated", [](int ranks, const RankBody& body) {
                                       ASSERT_TRUE(run_emulated(ranks, cluster_of_nodes(4), body));
                                     }}};
}

}  // namespace kumihimo
