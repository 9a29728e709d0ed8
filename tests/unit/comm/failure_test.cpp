// One rank fails; whatever the others do, they learn of it and the run ends.

#include <array>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mutex>

#include "backends.hpp"
#include "sample.hpp"
#include "tensor/device_memory.hpp"

namespace kumihimo {
namespace {

using testing::Each;
using testing::SizeIs;
using testing::StartsWith;

class Failure : public testing::TestWithParam<RankBackend> {
 protected:
  /// Rank 2 of 5 makes its groups and throws "no more"; the others do `what` until it throws.
  /// Returns what the run threw; others_ then holds what the other ranks got.
  std::string run(const std::function<void(World& world, ProcessGroup& group)>& what) {
    others_.clear();
    try {
      GetParam().run(5, [&](World& world) {
        const auto group = world.make_group(all_ranks(world));
        group->barrier();
        if (world.rank() == 2) throw std::runtime_error("no more");
        try {
          while (true) what(world, *group);
        } catch (const PeerFailure& failure) {
          const std::lock_guard lock(mutex_);
          others_.emplace_back(failure.what());
          throw;
        }
      });
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "nothing";
  }

  void expect_all_woken(const std::function<void(World& world, ProcessGroup& group)>& what) {
    EXPECT_EQ(run(what), "rank 2: no more");
    EXPECT_THAT(others_, SizeIs(4));
    EXPECT_THAT(others_, Each("rank 2 failed: no more"));
  }

  std::mutex mutex_;
  std::vector<std::string> others_;
};

TEST_P(Failure, WakesWhoIsInACollective) {
  expect_all_woken([](World& world, ProcessGroup& group) {
    const Storage x = filled(100, 10, DType::fp32, world.rank());
    group.all_reduce(x.matrix());
  });
  expect_all_woken([](World&, ProcessGroup& group) { group.barrier(); });
  expect_all_woken([](World& world, ProcessGroup& group) {
    const Storage x = filled(3, 3, DType::fp32, world.rank());
    group.broadcast(x.matrix(), 2);
  });
}

TEST_P(Failure, WakesWhoIsInACollectiveWithoutTheFailedRank) {
  expect_all_woken([](World& world, ProcessGroup&) {
    const auto pair = world.make_group(world.rank() < 2 ? std::array{0, 1} : std::array{3, 4});
    while (true) {
      const Storage x = filled(100, 10, DType::fp32, world.rank());
      pair->all_reduce(x.matrix());
    }
  });
}

TEST_P(Failure, WakesWhoWaitsForAMessage) {
  expect_all_woken([](World& world, ProcessGroup& group) {
    const Storage x = filled(3, 3, DType::fp32, world.rank());
    const auto message =
        world.rank() < 2 ? group.start_receive(x.matrix(), 2) : group.start_send(x.matrix(), 2);
    group.wait(*message);
  });
}

TEST_P(Failure, WakesWhoWaitsForAStream) {
  expect_all_woken([](World& world, ProcessGroup&) {
    const Storage x = filled(3, 3, DType::fp32, world.rank());
    const Storage y = filled(3, 3, DType::fp32, world.rank());
    const auto stream = world.make_stream();
    const auto group = world.make_group(all_ranks(world), stream.get());
    stream->start_all_reduce(*group, x.matrix());
    stream->wait(stream->start_all_reduce(*group, y.matrix()));
  });
}

TEST_P(Failure, WakesWhoMakesGroups) {
  expect_all_woken(
      [](World& world, ProcessGroup&) { world.make_group(all_ranks(world))->barrier(); });
}

TEST_P(Failure, OfARankWhoseStreamIsAtWorkWakesAll) {
  std::string thrown;
  try {
    GetParam().run(3, [](World& world) {
      const Storage x = filled(3, 3, DType::fp32, world.rank());
      const auto ranks = all_ranks(world);
      const auto own = world.make_group(ranks);
      const auto stream = world.make_stream();
      const auto group = world.make_group(ranks, stream.get());
      if (world.rank() == 1) {
        // Nobody else comes to this one: the stream would wait for ever.
        stream->start_all_reduce(*group, x.matrix());
        throw std::runtime_error("no more");
      }
      own->barrier();
    });
  } catch (const std::runtime_error& error) {
    thrown = error.what();
  }
  EXPECT_EQ(thrown, "rank 1: no more");
}

TEST_P(Failure, OfARankWithMessagesUnderWayLeavesNoneBehind) {
  for (int repeat = 0; repeat < 50; ++repeat) {
    EXPECT_THROW(GetParam().run(2,
                                [&](World& world) {
                                  const auto group = world.make_group(all_ranks(world));
                                  const Storage x = filled(64, 64, DType::fp32, world.rank());
                                  const Storage y = filled(64, 64, DType::fp32, world.rank());
                                  const int peer = 1 - world.rank();
                                  const auto sent = group->start_send(x.matrix(), peer);
                                  if (world.rank() == repeat % 2) throw std::runtime_error("no");
                                  const auto received = group->start_receive(y.matrix(), peer);
                                  group->wait(*received);
                                  group->wait(*group->start_receive(y.matrix(), peer));
                                }),
                 std::runtime_error);
  }
}

TEST_P(Failure, PassesOnOutOfMemoryAsItIs) {
  const auto body = [](World& world) {
    const auto group = world.make_group(all_ranks(world));
    if (world.rank() == 1) {
      DeviceMemory memory(make_host_memory(), 100);
      const Buffer buffer(memory, MemoryCategory::weights, 101);
    }
    group->barrier();
  };
  try {
    GetParam().run(2, body);
    ADD_FAILURE() << "no exception";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.asked, 101);
    EXPECT_THAT(error.what(), StartsWith("out of memory"));
  }
}

TEST_P(Failure, OfCollectivesThatDoNotMatchIsFoundByAll) {
  const auto body = [](World& world) {
    const auto group = world.make_group(all_ranks(world));
    const Storage x = filled(1 + world.rank() / 2, 1, DType::fp32, world.rank());
    group->all_reduce(x.matrix());
  };
  EXPECT_THROW(GetParam().run(3, body), InvariantError);
}

TEST_P(Failure, OfMessagesOfDifferentSizeIsFound) {
  const auto body = [](World& world) {
    const auto group = world.make_group(all_ranks(world));
    const Storage x(1 + world.rank(), 1, DType::fp32);
    const auto message =
        world.rank() == 0 ? group->start_send(x.matrix(), 1) : group->start_receive(x.matrix(), 0);
    group->wait(*message);
  };
  EXPECT_THROW(GetParam().run(2, body), InvariantError);
}

TEST_P(Failure, OfAGroupUsedOnAnotherStreamIsFound) {
  const auto body = [](World& world) {
    const auto stream = world.make_stream();
    const auto other = world.make_stream();
    const auto group = world.make_group(all_ranks(world), stream.get());
    const Storage x = filled(1, 1, DType::fp32, world.rank());
    other->start_all_reduce(*group, x.matrix());
  };
  EXPECT_THROW(GetParam().run(2, body), InvariantError);
}

INSTANTIATE_TEST_SUITE_P(All, Failure, testing::ValuesIn(backends()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace kumihimo
