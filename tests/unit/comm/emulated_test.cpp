#include <ctime>
#include <gtest/gtest.h>

#include "backends.hpp"
#include "comm/emulated/link_model.hpp"
#include "comm/world.hpp"
#include "sample.hpp"

namespace kumihimo {
namespace {

// Within a node 8 GB/s and 1 us, between nodes 1 GB/s and 10 us; ranks 0-3 on the first node.

TEST(LinkModel, RingsWithinANodeAreBoundByItsLink) {
  const Cluster cluster = cluster_of_nodes(4);
  EXPECT_EQ(ring_link(cluster, std::array{0, 1, 2, 3}), (Link{8e9, 1e-6}));
  EXPECT_EQ(ring_link(cluster, std::array{5, 7}), (Link{8e9, 1e-6}));
}

TEST(LinkModel, ADeviceOfAMeshReachesEachOtherByAPartOfItsLinks) {
  Cluster cluster = cluster_of_nodes(4);
  cluster.intra_node_mesh = true;
  EXPECT_EQ(link_between(cluster, 0, 3), (Link{8e9 / 3, 1e-6}));
  EXPECT_EQ(link_between(cluster, 0, 4), (Link{1e9, 1e-5}));
  EXPECT_EQ(ring_link(cluster, std::array{5, 7}), (Link{8e9 / 3, 1e-6}));
  EXPECT_EQ(ring_link(cluster, std::array{0, 1, 2, 3}), (Link{8e9, 1e-6}));
  EXPECT_EQ(ring_link(cluster, std::array{2}), (Link{8e9 / 3, 1e-6}));  // nobody to wait for
}

TEST(LinkModel, RingsAcrossNodesAreBoundByTheNicSharesOfTheirMembersInANode) {
  const Cluster cluster = cluster_of_nodes(4);
  EXPECT_EQ(ring_link(cluster, std::array{0, 4, 8, 12}), (Link{1e9, 1e-5}));
  EXPECT_EQ(ring_link(cluster, std::array{0, 1, 4, 5}), (Link{2 * 1e9, 1e-5}));
  EXPECT_EQ(ring_link(cluster, std::array{0, 1, 2, 3, 4}), (Link{1 * 1e9, 1e-5}));
}

TEST(LinkModel, CollectivesTakeTheStepsOfARing) {
  const Link link{1e9, 1e-5};
  // Four members, 4 MB: pieces of 1 MB, 1 ms and a latency each.
  EXPECT_DOUBLE_EQ(all_gather_time_s(link, 4, 4e6), 3 * (1e-5 + 1e-3));
  EXPECT_DOUBLE_EQ(reduce_scatter_time_s(link, 4, 4e6), 3 * (1e-5 + 1e-3));
  EXPECT_DOUBLE_EQ(all_reduce_time_s(link, 4, 4e6), 6 * (1e-5 + 1e-3));
  EXPECT_DOUBLE_EQ(broadcast_time_s(link, 4, 4e6), 3 * 1e-5 + 4e-3);
  EXPECT_DOUBLE_EQ(barrier_time_s(link, 2), 1 * 1e-5);
  EXPECT_DOUBLE_EQ(barrier_time_s(link, 5), 3 * 1e-5);
  EXPECT_DOUBLE_EQ(barrier_time_s(link, 8), 3 * 1e-5);
}

TEST(LinkModel, MessagesToOneReceiverPassOneAfterTheOther) {
  const Cluster cluster = cluster_of_nodes(4);
  OutgoingLinks outgoing(cluster, 0, 16);
  EXPECT_DOUBLE_EQ(outgoing.arrival_s(1, 8e6, 0), 1e-3 + 1e-6);
  EXPECT_DOUBLE_EQ(outgoing.arrival_s(1, 8e6, 0.5e-3), 2e-3 + 1e-6);
  EXPECT_DOUBLE_EQ(outgoing.arrival_s(4, 1e6, 0.5e-3), 0.5e-3 + 1e-3 + 1e-5);  // another link
  EXPECT_DOUBLE_EQ(outgoing.arrival_s(1, 8e6, 7e-3), 8e-3 + 1e-6);             // free again
}

/// Emulated times are exact but for the processor time that the test itself takes between calls:
/// microseconds, where the emulated durations are seconds.
constexpr double own_time_s = 0.2;

/// So slow that a matrix of a few bytes takes seconds: 8 B/s within a node, 1 B/s between nodes.
Cluster slow_cluster() {
  Cluster cluster = cluster_of_nodes(4);
  cluster.intra_node = {8, 1};
  cluster.inter_node = {1, 10};
  return cluster;
}

/// Runs on the slow cluster, every rank with a group of all.
void run_slowly(int ranks, const std::function<void(World& world, ProcessGroup& all)>& body) {
  const auto done = run_emulated(ranks, slow_cluster(), [&](World& world) {
    EXPECT_TRUE(world.emulated());
    const auto all = world.make_group(all_ranks(world));
    body(world, *all);
  });
  EXPECT_TRUE(done.has_value());
}

void compute_for(World& world, double seconds) {
  for (const double end_s = world.clock().now_s() + seconds; world.clock().now_s() < end_s;) {
  }
}

TEST(Emulated, CollectivesTakeTheTimeOfTheLinks) {
  run_slowly(4, [](World& world, ProcessGroup& all) {
    const Storage x = filled(4, 4, DType::fp32, world.rank());
    all.all_reduce(x.matrix());  // 64 bytes: 6 steps of 1 s + 16 B / 8 B/s
    EXPECT_NEAR(world.clock().now_s(), 6 * (1 + 2.0), own_time_s);
    const Storage part = filled(1, 4, DType::fp32, world.rank());
    all.all_gather(part.matrix(), x.matrix());
    EXPECT_NEAR(world.clock().now_s(), 18 + 3 * (1 + 2.0), own_time_s);
    all.reduce_scatter(x.matrix(), part.matrix());
    EXPECT_NEAR(world.clock().now_s(), 27 + 3 * (1 + 2.0), own_time_s);
    all.broadcast(x.matrix(), 2);
    EXPECT_NEAR(world.clock().now_s(), 36 + 3 * 1 + 64 / 8.0, own_time_s);
    all.barrier();
    EXPECT_NEAR(world.clock().now_s(), 47 + 2 * 1, own_time_s);
  });
}

TEST(Emulated, GroupsAcrossNodesUseTheSlowLink) {
  run_slowly(8, [](World& world, ProcessGroup&) {
    const int other = (world.rank() + 4) % 8;
    const auto pair =
        world.make_group(std::array{std::min(world.rank(), other), std::max(world.rank(), other)});
    const Storage x = filled(1, 2, DType::bf16, world.rank());
    pair->all_reduce(x.matrix());  // 4 bytes: 2 steps of 10 s + 2 B / 1 B/s
    EXPECT_NEAR(world.clock().now_s(), 2 * (10 + 2.0), own_time_s);
  });
}

TEST(Emulated, CollectivesStartWhenTheLastMemberComes) {
  run_slowly(3, [](World& world, ProcessGroup& all) {
    if (world.rank() == 1) compute_for(world, 0.5);
    all.barrier();
    EXPECT_NEAR(world.clock().now_s(), 0.5 + 2 * 1, own_time_s);
  });
}

TEST(Emulated, WaitingIsNotComputing) {
  run_slowly(2, [](World& world, ProcessGroup& all) {
    all.barrier();
    const double before_s = world.clock().now_s();
    const timespec nap{0, 300'000'000};
    nanosleep(&nap, nullptr);
    EXPECT_NEAR(world.clock().now_s(), before_s, own_time_s);
  });
}

TEST(Emulated, MessagesArriveAfterTheLatencyAndOneAfterTheOther) {
  run_slowly(2, [](World& world, ProcessGroup& all) {
    const Storage a = filled(1, 4, DType::fp32, 0), b = filled(2, 4, DType::fp32, 0);
    if (world.rank() == 0) {
      const auto first = all.start_send(a.matrix(), 1);
      const auto second = all.start_send(b.matrix(), 1);
      EXPECT_NEAR(world.clock().now_s(), 0, own_time_s);  // starting takes no time
      all.wait(*first);
      all.wait(*second);
    } else {
      const auto first = all.start_receive(a.matrix(), 0);
      const auto second = all.start_receive(b.matrix(), 0);
      all.wait(*first);
      EXPECT_NEAR(world.clock().now_s(), 16 / 8.0 + 1, own_time_s);
      all.wait(*second);
    }
    EXPECT_NEAR(world.clock().now_s(), (16 + 32) / 8.0 + 1, own_time_s);
  });
}

TEST(Emulated, AMessageThatHasArrivedTakesTheReceiverNoTime) {
  run_slowly(3, [](World& world, ProcessGroup& all) {
    const Storage x = filled(1, 4, DType::fp32, 0);
    std::unique_ptr<Message> message;
    if (world.rank() == 0) message = all.start_send(x.matrix(), 2);
    if (world.rank() == 2) message = all.start_receive(x.matrix(), 0);
    for (int i = 0; i < 3; ++i) all.barrier();  // 3 times 2 s, while the message takes 3 s
    if (message) all.wait(*message);
    EXPECT_NEAR(world.clock().now_s(), 3 * 2, own_time_s);
  });
}

TEST(Emulated, StreamsRunBesideTheRank) {
  run_slowly(4, [](World& world, ProcessGroup& all) {
    const Storage x = filled(4, 4, DType::fp32, world.rank());
    const Storage y = filled(4, 4, DType::fp32, world.rank());
    const auto stream = world.make_stream();
    const auto group = world.make_group(all_ranks(world), stream.get());
    all.barrier();  // 2 s
    const auto first = stream->start_all_reduce(*group, x.matrix());
    const auto second = stream->start_all_reduce(*group, y.matrix());
    for (int i = 0; i < 10; ++i) all.barrier();  // to 22 s, beyond the end of the first
    EXPECT_NEAR(world.clock().now_s(), 22, own_time_s);
    const StreamSpan span = stream->wait(first);
    EXPECT_NEAR(span.begin.seconds, 2, own_time_s);
    EXPECT_NEAR(span.end.seconds, 2 + 18, own_time_s);
    EXPECT_NEAR(world.clock().now_s(), 22, own_time_s);  // hidden
    const StreamSpan next = stream->wait(second);
    EXPECT_NEAR(next.begin.seconds, 20, own_time_s);
    EXPECT_NEAR(next.end.seconds, 20 + 18, own_time_s);
    EXPECT_NEAR(world.clock().now_s(), 38, own_time_s);  // 16 s of it exposed
  });
}

TEST(Emulated, NeedsADeviceForEveryRank) {
  const auto done = run_emulated(17, cluster_of_nodes(4), [](World&) { FAIL() << "must not run"; });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.errors().front().what,
            "17 do not fit onto the 16 devices of round (4 nodes of 4)");
}

TEST(Emulated, GroupsOfOneCostNothing) {
  run_slowly(2, [](World& world, ProcessGroup&) {
    const auto alone = world.make_group(std::array{world.rank()});
    const Storage x = filled(100, 100, DType::fp32, world.rank());
    alone->all_reduce(x.matrix());
    alone->barrier();
    EXPECT_NEAR(world.clock().now_s(), 0, own_time_s);
  });
}

}  // namespace
}  // namespace kumihimo
