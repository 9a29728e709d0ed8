#include "cluster/topology.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <vector>

namespace kumihimo {
namespace {

Cluster cluster_of(int devices_per_node) {
  Cluster cluster;
  cluster.devices_per_node = devices_per_node;
  cluster.nodes = 1000;
  cluster.intra_node = {300e9, 2e-6};
  cluster.inter_node = {25e9, 5e-6};
  return cluster;
}

/// By counting the members of every group that exists in a world of `world_size` ranks.
GroupPlacement count_members(int devices_per_node, int stride, int size, int world_size) {
  GroupPlacement worst{size, size, 1};
  for (int block = 0; (block + 1) * stride * size <= world_size; ++block) {
    for (int j = 0; j < stride; ++j) {
      std::map<int, int> members_on;
      for (int i = 0; i < size; ++i) {
        ++members_on[(block * stride * size + j + i * stride) / devices_per_node];
      }
      worst.nodes = std::max(worst.nodes, static_cast<int>(members_on.size()));
      for (const auto& [node, members] : members_on) {
        worst.ranks_per_node = std::min(worst.ranks_per_node, members);
      }
    }
  }
  return worst;
}

TEST(PlaceGroup, tensor_parallel_group_of_a_node_stays_inside) {
  EXPECT_EQ(place_group(cluster_of(8), 1, 8), (GroupPlacement{8, 8, 1}));
}

TEST(PlaceGroup, data_parallel_ranks_beside_tp_2_share_a_node_four_by_four) {
  // 64 ranks, tp 2, dp 32: stride 2, so 8 / 2 = 4 members a node on 32 / 4 = 8 nodes.
  EXPECT_EQ(place_group(cluster_of(8), 2, 32), (GroupPlacement{32, 8 / 2, 32 / 4}));
}

TEST(PlaceGroup, pipeline_stages_a_node_apart_never_share) {
  EXPECT_EQ(place_group(cluster_of(8), 8, 4), (GroupPlacement{4, 1, 4}));
  EXPECT_EQ(place_group(cluster_of(8), 16, 4), (GroupPlacement{4, 1, 4}));
}

TEST(PlaceGroup, group_that_does_not_divide_the_node_straddles_two) {
  // Ranks 64..79 of a 72-device node: 72 - 64 = 8 members on each side.
  EXPECT_EQ(place_group(cluster_of(72), 1, 16), (GroupPlacement{16, 8, 2}));
  // In a world of 64 ranks no such group exists.
  EXPECT_EQ(place_group(cluster_of(72), 1, 16, 64), (GroupPlacement{16, 16, 1}));
}

TEST(PlaceGroup, single_member_needs_no_link) {
  EXPECT_EQ(place_group(cluster_of(3), 5, 1), (GroupPlacement{1, 1, 1}));
}

TEST(PlaceGroup, equals_counting_for_every_small_case) {
  for (int node = 1; node <= 13; ++node) {
    for (int stride = 1; stride <= 15; ++stride) {
      for (int size = 1; size <= 15; ++size) {
        const Cluster cluster = cluster_of(node);
        const int block = stride * size;
        // After `node` blocks the pattern repeats: that world holds every group there is.
        EXPECT_EQ(place_group(cluster, stride, size),
                  count_members(node, stride, size, node * block))
            << node << " devices a node, stride " << stride << ", size " << size;
        for (const int blocks : {1, 2, 3}) {
          EXPECT_EQ(place_group(cluster, stride, size, blocks * block),
                    count_members(node, stride, size, blocks * block))
              << node << " devices a node, stride " << stride << ", size " << size << ", " << blocks
              << " blocks";
        }
      }
    }
  }
}

TEST(PlaceGroup, dividing_groups_fill_their_nodes) {
  for (const int stride : {1, 2, 4, 8, 16, 64}) {
    for (const int size : {1, 2, 8, 32, 512}) {
      const GroupPlacement placement = place_group(cluster_of(8), stride, size);
      EXPECT_EQ(placement.ranks_per_node * placement.nodes, size) << stride << " x " << size;
    }
  }
}

TEST(PlaceGroup, largest_numbers_do_not_overflow) {
  constexpr std::int64_t largest = 2147483647;
  EXPECT_EQ(place_group(cluster_of(8), largest, largest),
            (GroupPlacement{2147483647, 1, 2147483647}));
  // The first member stands on the last of 7 devices, so that the last stands 6 places further.
  EXPECT_EQ(place_group(cluster_of(7), 1, largest).nodes, (6 + largest - 1) / 7 + 1);
}

TEST(PlaceGroup, refuses_nonsense_as_a_programming_error) {
  EXPECT_THROW(place_group(cluster_of(8), 0, 8), InvariantError);
  EXPECT_THROW(place_group(cluster_of(8), 1, 0), InvariantError);
  EXPECT_THROW(place_group(cluster_of(8), 1, std::int64_t{1} << 40), InvariantError);
}

TEST(CrossesNodes, equals_asking_every_rank) {
  for (int node = 1; node <= 9; ++node) {
    for (int first = 0; first <= 20; ++first) {
      for (int count = 0; count <= 12; ++count) {
        for (int distance = 0; distance <= 12; ++distance) {
          bool expected = false;
          for (int rank = first; rank < first + count; ++rank) {
            expected = expected || rank / node != (rank + distance) / node;
          }
          EXPECT_EQ(crosses_nodes(cluster_of(node), first, count, distance), expected)
              << node << " devices a node, ranks " << first << " + " << count << ", " << distance
              << " on";
        }
      }
    }
  }
}

TEST(SlowestLink, inside_a_node_is_the_intra_node_link) {
  const Cluster cluster = cluster_of(8);
  EXPECT_EQ(slowest_link(cluster, {8, 8, 1}), cluster.intra_node);
}

TEST(SlowestLink, of_a_mesh_is_the_part_that_joins_the_members) {
  Cluster cluster = cluster_of(4);
  cluster.intra_node_mesh = true;
  EXPECT_EQ(slowest_link(cluster, {2, 2, 1}), (Link{300e9 / 3, 2e-6}));
  EXPECT_EQ(slowest_link(cluster, {3, 3, 1}), (Link{300e9 * 2 / 3, 2e-6}));
  EXPECT_EQ(slowest_link(cluster, {4, 4, 1}), cluster.intra_node);
  // Two shares of 25 GB/s are less than the 100 GB/s between two devices of a node.
  EXPECT_EQ(slowest_link(cluster, {8, 2, 4}), (Link{2 * 25e9, 5e-6}));
}

TEST(SlowestLink, lone_members_have_one_share_of_the_adapters) {
  const Cluster cluster = cluster_of(8);
  EXPECT_EQ(slowest_link(cluster, {4, 1, 4}), cluster.inter_node);
}

TEST(SlowestLink, members_of_a_node_pool_their_shares) {
  EXPECT_EQ(slowest_link(cluster_of(8), {32, 4, 8}), (Link{4 * 25e9, 5e-6}));
}

TEST(SlowestLink, pooled_shares_never_exceed_the_link_inside_the_node) {
  // 16 x 25 GB/s = 400 GB/s, but a member passes on at most 300 GB/s.
  EXPECT_EQ(slowest_link(cluster_of(16), {32, 16, 2}), (Link{300e9, 5e-6}));
}

}  // namespace
}  // namespace kumihimo
