#include "comm/queued_stream.hpp"

#include <gtest/gtest.h>

#include "sample.hpp"

namespace kumihimo {
namespace {

TEST(QueuedStream, RunsAnyNumberAndRemembersTheLastThousand) {
  run_threads(2, [](World& world) {
    const Storage x(1, 1, DType::int32);
    set_element(x.matrix(), 0, world.rank());
    const auto stream = world.make_stream();
    const auto group = world.make_group(all_ranks(world), stream.get());
    std::vector<CommunicationStream::Ticket> tickets;
    for (int n = 0; n < 2500; ++n) {
      tickets.push_back(stream->start_all_reduce(*group, x.matrix()));
    }
    double end_s = 0;
    for (const auto ticket : tickets) {
      const StreamSpan span = stream->wait(ticket);
      EXPECT_LE(end_s, span.begin.seconds);
      EXPECT_LE(span.begin.seconds, span.end.seconds);
      end_s = span.end.seconds;
    }
    // 0 + 1 = 1, then twice as much every time: 2^2499 mod 2^32.
    EXPECT_EQ(element(x.matrix(), 0), 0);
    EXPECT_NO_THROW(stream->wait(tickets[2500 - 1 - 1000]));
    EXPECT_THROW(stream->wait(tickets[2500 - 2 - 1000]), InvariantError);
  });
}

TEST(QueuedStream, AfterAFailureNothingRunsAndEveryWaitTellsIt) {
  EXPECT_THROW(run_threads(2,
                           [](World& world) {
                             const Storage x(1, 1 + world.rank(), DType::fp32);
                             const Storage y = filled(3, 3, DType::fp32, world.rank());
                             const auto stream = world.make_stream();
                             const auto group = world.make_group(all_ranks(world), stream.get());
                             // The members' matrices differ.
                             const auto bad = stream->start_all_reduce(*group, x.matrix());
                             const auto good = stream->start_all_reduce(*group, y.matrix());
                             EXPECT_THROW(stream->wait(good), InvariantError);
                             EXPECT_EQ(y.bytes(), filled(3, 3, DType::fp32, world.rank()).bytes());
                             stream->wait(bad);
                           }),
               InvariantError);
}

}  // namespace
}  // namespace kumihimo
