#include "cost/collective_time.hpp"

#include <cmath>
#include <gtest/gtest.h>

#include "support/round_machine.hpp"

namespace kumihimo {
namespace {

using testing::ideal_profile;
using testing::round_cluster;

constexpr double volume = 8e9;                     // bytes
constexpr GroupPlacement four_in_a_node{4, 4, 1};  // 10 GB/s each
constexpr GroupPlacement four_nodes{4, 1, 4};      // 1 GB/s each
constexpr GroupPlacement two_full_nodes{8, 4, 2};  // four NIC shares of 1 GB/s a node

double seconds(CollectiveKind kind, const GroupPlacement& group, double bytes = volume,
               const Cluster& cluster = round_cluster(),
               const StackProfile& profile = ideal_profile()) {
  return collective_seconds(kind, bytes, group, /*job_nodes=*/1, cluster, profile);
}

TEST(CollectiveSeconds, RingsWithinANode) {
  EXPECT_DOUBLE_EQ(seconds(CollectiveKind::all_gather, four_in_a_node), 3.0 / 4 * 8e9 / 10e9);
  EXPECT_DOUBLE_EQ(seconds(CollectiveKind::reduce_scatter, four_in_a_node), 3.0 / 4 * 8e9 / 10e9);
  EXPECT_DOUBLE_EQ(seconds(CollectiveKind::all_reduce, four_in_a_node), 2 * 3.0 / 4 * 8e9 / 10e9);
  EXPECT_DOUBLE_EQ(seconds(CollectiveKind::send_receive, four_in_a_node), 8e9 / 10e9);
}

TEST(CollectiveSeconds, MembersOfAMeshHaveTheLinksBetweenThem) {
  Cluster mesh = round_cluster();
  mesh.intra_node_mesh = true;
  const double pair = mesh.intra_node.bandwidth / (mesh.devices_per_node - 1);
  const GroupPlacement all{mesh.devices_per_node, mesh.devices_per_node, 1};
  EXPECT_DOUBLE_EQ(seconds(CollectiveKind::all_gather, {2, 2, 1}, volume, mesh),
                   1.0 / 2 * volume / pair);
  EXPECT_DOUBLE_EQ(seconds(CollectiveKind::all_gather, {3, 3, 1}, volume, mesh),
                   2.0 / 3 * volume / (2 * pair));
  EXPECT_DOUBLE_EQ(seconds(CollectiveKind::all_gather, all, volume, mesh),
                   seconds(CollectiveKind::all_gather, all));
  // One ring passes over one link of each member.
  EXPECT_DOUBLE_EQ(seconds(CollectiveKind::send_receive, all, volume, mesh), volume / pair);
}

TEST(MessageSeconds, PassOverTheLinkBetweenTwoDevicesOfAMesh) {
  Cluster mesh = round_cluster();
  const double switched = message_seconds(volume, false, mesh, ideal_profile());
  const double between = message_seconds(volume, true, mesh, ideal_profile());
  mesh.intra_node_mesh = true;
  EXPECT_DOUBLE_EQ(message_seconds(volume, false, mesh, ideal_profile()),
                   switched * (mesh.devices_per_node - 1));
  EXPECT_DOUBLE_EQ(message_seconds(volume, true, mesh, ideal_profile()), between);
}

TEST(CollectiveSeconds, RingsBetweenNodes) {
  EXPECT_DOUBLE_EQ(seconds(CollectiveKind::all_reduce, four_nodes), 2 * 3.0 / 4 * 8e9 / 1e9);
  // Four members of a node share what enters and leaves it: 14 GB at 4 GB/s.
  EXPECT_DOUBLE_EQ(seconds(CollectiveKind::all_reduce, two_full_nodes),
                   2 * 7.0 / 8 * 8e9 / (4 * 1e9));
}

TEST(CollectiveSeconds, TheSlowerOfBothLinksBounds) {
  Cluster cluster = round_cluster();
  cluster.inter_node.bandwidth = 50e9;
  EXPECT_DOUBLE_EQ(seconds(CollectiveKind::all_reduce, two_full_nodes, volume, cluster),
                   2 * 7.0 / 8 * 8e9 / 10e9);
}

TEST(CollectiveSeconds, TheStackReachesAShareOfEachLink) {
  StackProfile profile = ideal_profile();
  profile.intra_node = 0.5;
  profile.inter_node = 0.25;
  EXPECT_DOUBLE_EQ(
      seconds(CollectiveKind::all_gather, four_in_a_node, volume, round_cluster(), profile),
      3.0 / 4 * 8e9 / (0.5 * 10e9));
  EXPECT_DOUBLE_EQ(
      seconds(CollectiveKind::all_gather, four_nodes, volume, round_cluster(), profile),
      3.0 / 4 * 8e9 / (0.25 * 1e9));
}

TEST(CollectiveSeconds, GrowingFabricsLoseBandwidth) {
  StackProfile profile = ideal_profile();
  profile.inter_node_scaling = 0.5;  // of the job's sixteen nodes: the square root
  EXPECT_DOUBLE_EQ(collective_seconds(CollectiveKind::all_gather, volume, four_nodes,
                                      /*job_nodes=*/16, round_cluster(), profile),
                   3.0 / 4 * 8e9 / (1e9 / 4));
}

TEST(CollectiveSeconds, JobsFarBeyondTheFittedOnesLoseNoMoreThanTheRoundFigure) {
  StackProfile profile = ideal_profile();
  profile.inter_node_scaling = 0.5;
  profile.range = FittedRange{.devices = {4, 8 * 4}};  // eight nodes of four: trusted on sixteen
  const auto of_job = [&](std::int64_t job_nodes) {
    return collective_seconds(CollectiveKind::all_gather, volume, four_nodes, job_nodes,
                              round_cluster(), profile);
  };
  EXPECT_DOUBLE_EQ(of_job(9), of_job(1) * 3);
  EXPECT_DOUBLE_EQ(of_job(16), of_job(1) * 4);
  EXPECT_NEAR(of_job(160), of_job(16) * std::pow(10, 0.1), 1e-9);
  profile.inter_node_scaling = 0.05;  // a flatter one stays so
  EXPECT_NEAR(of_job(160), of_job(1) * std::pow(160, 0.05), 1e-9);
}

TEST(CollectiveSeconds, LatencyIsPaidPerHopAndTheStartOnce) {
  Cluster cluster = round_cluster();
  cluster.intra_node.latency_s = 1;
  cluster.inter_node.latency_s = 100;
  StackProfile profile = ideal_profile();
  profile.collective_s = 1000;
  const auto fixed = [&](CollectiveKind kind, const GroupPlacement& group) {
    return seconds(kind, group, 1e-3, cluster, profile);  // too little to matter
  };
  EXPECT_NEAR(fixed(CollectiveKind::all_gather, four_in_a_node), 1000 + 3 * 1, 1e-6);
  EXPECT_NEAR(fixed(CollectiveKind::all_reduce, four_in_a_node), 1000 + 2 * 3 * 1, 1e-6);
  EXPECT_NEAR(fixed(CollectiveKind::all_gather, four_nodes), 1000 + 3 * 100, 1e-6);
  EXPECT_NEAR(fixed(CollectiveKind::all_reduce, two_full_nodes), 1000 + 2 * 1 * 100, 1e-6);
}

TEST(CollectiveSeconds, EveryStepOfARingTakesItsOwnTimeWhereverTheRanksAre) {
  StackProfile profile = ideal_profile();
  profile.hop_s = 10;
  const auto fixed = [&](CollectiveKind kind, const GroupPlacement& group) {
    return seconds(kind, group, 1e-3, round_cluster(), profile);  // too little to matter
  };
  EXPECT_NEAR(fixed(CollectiveKind::all_gather, four_in_a_node), 3 * 10, 1e-6);
  EXPECT_NEAR(fixed(CollectiveKind::all_reduce, four_nodes), 2 * 3 * 10, 1e-6);
  // Eight ranks in two nodes: seven steps, though only one crosses.
  EXPECT_NEAR(fixed(CollectiveKind::all_gather, two_full_nodes), 7 * 10, 1e-6);
}

TEST(CollectiveSeconds, StepsBetweenNodesTakeTimeOfTheirOwn) {
  StackProfile profile = ideal_profile();
  profile.node_hop_s = 10;
  const auto fixed = [&](CollectiveKind kind, const GroupPlacement& group) {
    return seconds(kind, group, 1e-3, round_cluster(), profile);  // too little to matter
  };
  EXPECT_NEAR(fixed(CollectiveKind::all_gather, four_in_a_node), 0, 1e-6);
  EXPECT_NEAR(fixed(CollectiveKind::all_reduce, four_nodes), 2 * 3 * 10, 1e-6);
  EXPECT_NEAR(fixed(CollectiveKind::all_gather, two_full_nodes), 1 * 10, 1e-6);
}

TEST(CollectiveSeconds, AJobThatOutgrowsItsNetworkKeepsAShareOfTheBandwidth) {
  StackProfile profile = ideal_profile();
  profile.congested_nodes = 32;
  profile.congested_bandwidth = 0.25;
  const auto slowdown = [&](const GroupPlacement& group, std::int64_t job_nodes) {
    const auto at = [&](std::int64_t nodes) {
      return collective_seconds(CollectiveKind::all_gather, volume, group, nodes, round_cluster(),
                                profile);
    };
    return at(job_nodes) / at(1);
  };
  EXPECT_NEAR(slowdown(four_nodes, 16), 1, 1e-3);
  EXPECT_NEAR(slowdown(four_nodes, 32), 2, 1e-9);  // half way, of a factor
  EXPECT_NEAR(slowdown(four_nodes, 64), 4, 1e-2);
  EXPECT_NEAR(slowdown(four_nodes, 100'000), 4, 1e-9);
  EXPECT_EQ(slowdown(four_in_a_node, 64), 1);
}

TEST(CollectiveSeconds, NothingToDoTakesNoTime) {
  StackProfile profile = ideal_profile();
  profile.collective_s = 1;
  EXPECT_EQ(seconds(CollectiveKind::all_reduce, {1, 1, 1}, volume, round_cluster(), profile), 0);
  EXPECT_EQ(seconds(CollectiveKind::all_reduce, four_in_a_node, 0, round_cluster(), profile), 0);
  EXPECT_EQ(seconds(CollectiveKind::none, four_in_a_node, volume, round_cluster(), profile), 0);
}

TEST(CollectiveSeconds, GrowWithBytesAndShrinkWithBandwidth) {
  for (const GroupPlacement& group : {four_in_a_node, four_nodes, two_full_nodes}) {
    double before = 0;
    for (const double bytes : {1e3, 1e6, 1e9, 1e12}) {
      const double now = seconds(CollectiveKind::all_reduce, group, bytes);
      EXPECT_GT(now, before);
      before = now;
      Cluster faster = round_cluster();
      faster.intra_node.bandwidth *= 2;
      EXPECT_LE(seconds(CollectiveKind::all_reduce, group, bytes, faster), now);
      faster.inter_node.bandwidth *= 2;
      EXPECT_DOUBLE_EQ(seconds(CollectiveKind::all_reduce, group, bytes, faster), now / 2);
    }
  }
}

TEST(MessageSeconds, TakeTheLinkBetweenTheTwoRanks) {
  Cluster cluster = round_cluster();
  cluster.intra_node.latency_s = 0.25;
  cluster.inter_node.latency_s = 0.5;
  StackProfile profile = ideal_profile();
  profile.point_to_point = 0.5;
  EXPECT_DOUBLE_EQ(message_seconds(1e9, false, cluster, profile), 0.25 + 1e9 / (0.5 * 10e9));
  EXPECT_DOUBLE_EQ(message_seconds(1e9, true, cluster, profile), 0.5 + 1e9 / (0.5 * 1e9));
}

TEST(CollectiveSeconds, BlocksThatAreSentOnLeaveANodeThroughOneShare) {
  const Cluster cluster = round_cluster();
  const StackProfile profile = ideal_profile();
  const GroupPlacement placed{.ranks = 8, .ranks_per_node = 4, .nodes = 2};
  const auto seconds = [&](CollectiveKind kind) {
    return collective_seconds(kind, 8e9, placed, 2, cluster, profile);
  };
  EXPECT_DOUBLE_EQ(seconds(CollectiveKind::send_receive), 8e9 / 1e9);
  EXPECT_DOUBLE_EQ(seconds(CollectiveKind::all_gather), 7.0 / 8 * 8e9 / (4 * 1e9));
}

}  // namespace
}  // namespace kumihimo
