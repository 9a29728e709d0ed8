#include "conformance.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>

#include "sample.hpp"

namespace kumihimo {
namespace {

using Shape = std::array<std::int64_t, 2>;

constexpr std::array reducible{DType::fp64, DType::fp32, DType::bf16, DType::int32};
constexpr std::array every_dtype{DType::fp64,  DType::fp32,     DType::bf16,
                                 DType::int32, DType::fp8_e4m3, DType::fp8_e5m2};
constexpr std::array<Shape, 6> shapes{Shape{1, 1},   Shape{3, 5},   Shape{7, 33},
                                      Shape{64, 64}, Shape{67, 37}, Shape{0, 4}};

std::string text_of(DType dtype, std::int64_t rows, std::int64_t cols) {
  return std::string(to_string(dtype)) + " [" + std::to_string(rows) + ", " + std::to_string(cols) +
         "]";
}

void all_reduce(World& world) {
  const auto ranks = all_ranks(world);
  const auto group = world.make_group(ranks);
  expect(group->rank() == world.rank() && group->size() == world.size(), "the world's own ranks");
  for (const DType dtype : reducible) {
    for (const auto& [rows, cols] : shapes) {
      for (const Reduction reduction : {Reduction::sum, Reduction::max}) {
        const Storage x = filled(rows, cols, dtype, world.rank());
        group->all_reduce(x.matrix(), reduction);
        expect(x.bytes() == reduced(ranks, rows, cols, dtype, reduction).bytes(),
               "the bits of a reduction in rank order, " + text_of(dtype, rows, cols));
      }
    }
  }
}

void reduce_scatter_then_all_gather(World& world) {
  const auto ranks = all_ranks(world);
  const auto group = world.make_group(ranks);
  for (const DType dtype : reducible) {
    for (const auto& [rows, cols] : shapes) {
      const std::int64_t all_rows = rows * world.size();
      const Storage expected = reduced(ranks, all_rows, cols, dtype, Reduction::sum);
      for (const bool in_place : {false, true}) {
        const std::string what =
            text_of(dtype, rows, cols) + (in_place ? " in place" : " to other memory");
        const Storage whole = filled(all_rows, cols, dtype, world.rank());
        const Storage other(rows, cols, dtype);
        const Matrix own = rows_of(whole.matrix(), world.rank() * rows, rows);
        const Matrix part = in_place ? own : other.matrix();
        group->reduce_scatter(whole.matrix(), part);
        const Matrix wanted = rows_of(expected.matrix(), world.rank() * rows, rows);
        expect(part.bytes() == 0 ||
                   std::memcmp(part.data, wanted.data, static_cast<std::size_t>(part.bytes())) == 0,
               "own rows of the sum, " + what);

        const Storage gathered(all_rows, cols, dtype);
        group->all_gather(part, in_place ? whole.matrix() : gathered.matrix());
        expect((in_place ? whole : gathered).bytes() == expected.bytes(),
               "all_gather after reduce_scatter equal to all_reduce, " + what);
      }
    }
  }
}

void all_gather(World& world) {
  const auto group = world.make_group(all_ranks(world));
  for (const DType dtype : every_dtype) {
    const Storage part = filled(5, 3, dtype, world.rank());
    const Storage whole(5 * world.size(), 3, dtype);
    group->all_gather(part.matrix(), whole.matrix());
    std::string expected;
    for (const int rank : all_ranks(world)) expected += filled(5, 3, dtype, rank).bytes();
    expect(whole.bytes() == expected, "the parts of all ranks in order, " + text_of(dtype, 5, 3));
  }
}

void broadcast(World& world) {
  const auto group = world.make_group(all_ranks(world));
  for (const DType dtype : every_dtype) {
    for (const auto& [rows, cols] : shapes) {
      for (int root = 0; root < world.size(); ++root) {
        const Storage x = filled(rows, cols, dtype, world.rank());
        group->broadcast(x.matrix(), root);
        expect(x.bytes() == filled(rows, cols, dtype, root).bytes(),
               "what rank " + std::to_string(root) + " has, " + text_of(dtype, rows, cols));
      }
    }
  }
}

/// 256 + 1 in bf16 (8 bits) is 256; rounded once at the end, 256 + 7 x 1 is 263 -> 264 (a tie
/// between 262 and 264, and 264 = 2 x 132 is even), and so on.
void bf16_is_rounded_once(World& world) {
  const auto group = world.make_group(all_ranks(world));
  const Storage x(1, 1, DType::bf16);
  set_element(x.matrix(), 0, world.rank() == 0 ? 256 : 1);
  group->all_reduce(x.matrix());
  const Storage expected(1, 1, DType::bf16);
  set_element(expected.matrix(), 0, 256.0 + (world.size() - 1));
  expect(x.bytes() == expected.bytes(), "one rounding of the whole sum");
}

void maximum_shows_a_nan(World& world) {
  const auto group = world.make_group(all_ranks(world));
  for (const DType dtype : {DType::fp64, DType::fp32, DType::bf16}) {
    for (int from = 0; from < world.size(); ++from) {
      const Storage x(1, 2, dtype);
      set_element(x.matrix(), 0, world.rank());
      set_element(x.matrix(), 1, world.rank());
      if (world.rank() == from) set_element(x.matrix(), 1, std::nan(""));
      group->all_reduce(x.matrix(), Reduction::max);
      expect(element(x.matrix(), 0) == world.size() - 1, "the largest rank");
      expect(std::isnan(element(x.matrix(), 1)), "a NaN, whoever had it");
    }
  }
}

void int32_wraps_around(World& world) {
  const auto group = world.make_group(all_ranks(world));
  const Storage x(1, 1, DType::int32);
  set_element(x.matrix(), 0, std::numeric_limits<std::int32_t>::max());
  group->all_reduce(x.matrix());
  const auto sum = static_cast<std::uint32_t>(world.size()) * 0x7fffffffu;
  expect(element(x.matrix(), 0) == static_cast<std::int32_t>(sum), "size x (2^31 - 1) mod 2^32");
}

/// Rows and columns of a mesh, at work at the same time; the whole world beside them.
void groups_of_a_mesh(World& world) {
  const int cols = world.size() % 2 == 0 ? world.size() / 2 : world.size();
  std::vector<int> row_ranks, col_ranks;
  for (const int rank : all_ranks(world)) {
    if (rank / cols == world.rank() / cols) row_ranks.push_back(rank);
    if (rank % cols == world.rank() % cols) col_ranks.push_back(rank);
  }
  const auto row = world.make_group(row_ranks);
  const auto col = world.make_group(col_ranks);
  const auto all = world.make_group(all_ranks(world));
  expect(row->size() == cols && row->rank() == world.rank() % cols, "its place in the row");
  for (int repeat = 0; repeat < 3; ++repeat) {
    for (const auto& [group, ranks] :
         {std::pair{row.get(), row_ranks}, {col.get(), col_ranks}, {all.get(), all_ranks(world)}}) {
      const Storage x = filled(9, 7, DType::fp32, world.rank());
      group->all_reduce(x.matrix());
      expect(x.bytes() == reduced(ranks, 9, 7, DType::fp32, Reduction::sum).bytes(),
             "the sum over the members alone");
    }
    all->barrier();
  }
}

int tagged(int rank, int number) { return rank * 10'000 + number; }

/// Every pair in both directions, some receives started before their sends and some after, waited
/// for from the last to the first.
void many_messages_under_way(World& world) {
  constexpr int messages = 50;
  const auto group = world.make_group(all_ranks(world));
  std::vector<Storage> sent, received;
  std::vector<std::unique_ptr<Message>> under_way;
  for (int n = 0; n < messages; ++n) {
    for (int peer = 0; peer < world.size(); ++peer) {
      sent.emplace_back(3, 1 + n, DType::int32);
      received.emplace_back(3, 1 + n, DType::int32);
    }
  }
  const auto index = [&](int n, int peer) {
    return static_cast<std::size_t>(n * world.size() + peer);
  };
  const auto send_all = [&] {
    for (int n = 0; n < messages; ++n) {
      for (int peer = 0; peer < world.size(); ++peer) {
        if (peer == world.rank()) continue;
        const Matrix& x = sent[index(n, peer)].matrix();
        for (std::int64_t i = 0; i < x.elements(); ++i) {
          set_element(x, i, tagged(world.rank(), n));
        }
        under_way.push_back(group->start_send(x, peer));
      }
    }
  };
  const auto receive_all = [&] {
    for (int n = 0; n < messages; ++n) {
      for (int peer = world.size() - 1; peer >= 0; --peer) {
        if (peer == world.rank()) continue;
        under_way.push_back(group->start_receive(received[index(n, peer)].matrix(), peer));
      }
    }
  };
  if (world.rank() % 2 == 0) {
    send_all();
    receive_all();
  } else {
    receive_all();
    send_all();
  }
  std::reverse(under_way.begin(), under_way.end());
  for (const auto& message : under_way) group->wait(*message);
  for (int n = 0; n < messages; ++n) {
    for (int peer = 0; peer < world.size(); ++peer) {
      if (peer == world.rank()) continue;
      const Matrix& x = received[index(n, peer)].matrix();
      for (std::int64_t i = 0; i < x.elements(); ++i) {
        expect(element(x, i) == tagged(peer, n), "messages in the order of their sends");
      }
    }
  }
}

/// As the pipeline does: activations to the next rank, gradients to the one before.
void large_messages_around_a_ring(World& world) {
  if (world.size() == 1) return;
  const auto group = world.make_group(all_ranks(world));
  const int next = (world.rank() + 1) % world.size();
  const int previous = (world.rank() + world.size() - 1) % world.size();
  for (const std::int64_t rows : {std::int64_t{0}, std::int64_t{1}, std::int64_t{700}}) {
    const Storage forward = filled(rows, 301, DType::bf16, world.rank());
    const Storage backward = filled(rows, 301, DType::fp32, world.rank());
    const Storage from_previous(rows, 301, DType::bf16);
    const Storage from_next(rows, 301, DType::fp32);
    const auto a = group->start_send(forward.matrix(), next);
    const auto b = group->start_receive(from_previous.matrix(), previous);
    const auto c = group->start_receive(from_next.matrix(), next);
    const auto d = group->start_send(backward.matrix(), previous);
    for (const auto& message : {a.get(), b.get(), c.get(), d.get()}) group->wait(*message);
    expect(from_previous.bytes() == filled(rows, 301, DType::bf16, previous).bytes(),
           "the activations of the rank before");
    expect(from_next.bytes() == filled(rows, 301, DType::fp32, next).bytes(),
           "the gradients of the rank after");
  }
}

void groups_of_the_same_ranks_are_kept_apart(World& world) {
  if (world.size() == 1) return;
  const auto first = world.make_group(all_ranks(world));
  const auto second = world.make_group(all_ranks(world));
  const Storage a = filled(4, 4, DType::fp32, 1), b = filled(4, 4, DType::fp32, 2);
  if (world.rank() == 0) {
    const auto on_first = first->start_send(a.matrix(), 1);
    const auto on_second = second->start_send(b.matrix(), 1);
    first->wait(*on_first);
    second->wait(*on_second);
  } else if (world.rank() == 1) {
    const Storage x(4, 4, DType::fp32), y(4, 4, DType::fp32);
    const auto on_second = second->start_receive(y.matrix(), 0);
    const auto on_first = first->start_receive(x.matrix(), 0);
    second->wait(*on_second);
    first->wait(*on_first);
    expect(x.bytes() == a.bytes() && y.bytes() == b.bytes(), "each group its own message");
  }
  first->barrier();
}

/// Two streams beside the rank's own collectives, their tickets waited for in any order.
void streams_run_beside_the_rank(World& world) {
  constexpr std::int64_t rows = 6;
  const auto ranks = all_ranks(world);
  const std::int64_t all_rows = rows * world.size();
  const Storage sum = reduced(ranks, all_rows, 11, DType::fp32, Reduction::sum);

  std::vector<Storage> buckets, parts, gathered;
  for (int n = 0; n < 10; ++n) {
    buckets.push_back(filled(all_rows, 11, DType::fp32, world.rank()));
    parts.emplace_back(rows, 11, DType::fp32);
    gathered.emplace_back(all_rows, 11, DType::fp32);
  }
  const Storage reduced_alone = filled(all_rows, 11, DType::fp32, world.rank());

  const auto gradients = world.make_stream();
  const auto weights = world.make_stream();
  const auto scattering = world.make_group(ranks, gradients.get());
  const auto gathering = world.make_group(ranks, weights.get());
  const auto own = world.make_group(ranks);
  std::vector<CommunicationStream::Ticket> scattered, gathers;
  for (std::size_t n = 0; n < buckets.size(); ++n) {
    scattered.push_back(
        gradients->start_reduce_scatter(*scattering, buckets[n].matrix(), parts[n].matrix()));
    own->barrier();
  }
  const auto last = gradients->start_all_reduce(*scattering, reduced_alone.matrix());
  for (std::size_t n = 0; n < buckets.size(); ++n) {
    gradients->wait(scattered[n]);
    gathers.push_back(
        weights->start_all_gather(*gathering, parts[n].matrix(), gathered[n].matrix()));
    const Storage x = filled(3, 3, DType::int32, world.rank());
    own->all_reduce(x.matrix());
    expect(x.bytes() == reduced(ranks, 3, 3, DType::int32, Reduction::sum).bytes(),
           "the rank's own sum");
  }
  const StreamSpan late = weights->wait(gathers.back());
  const StreamSpan early = weights->wait(gathers.front());
  world.clock().settle();
  const auto at = [&](const Moment& moment) { return world.clock().seconds_at(moment); };
  expect(at(early.begin) <= at(early.end) && at(early.end) <= at(late.begin) &&
             at(late.begin) <= at(late.end),
         "collectives of a stream one after the other");
  expect(at(late.end) <= world.clock().now_s(), "what was waited for to lie in the past");
  for (const Storage& whole : gathered) {
    expect(whole.bytes() == sum.bytes(), "reduce_scatter and all_gather on streams");
  }
  gradients->wait(last);
  expect(reduced_alone.bytes() == sum.bytes(), "all_reduce on a stream");
}

void a_stream_ends_what_it_was_given(World& world) {
  const auto ranks = all_ranks(world);
  const Storage x = filled(40, 40, DType::fp64, world.rank());
  const Storage y = filled(40, 40, DType::fp64, world.rank());
  std::unique_ptr<ProcessGroup> group;
  {
    const auto stream = world.make_stream();
    group = world.make_group(ranks, stream.get());
    stream->start_all_reduce(*group, x.matrix());
    stream->start_all_reduce(*group, y.matrix());
  }
  const Storage sum = reduced(ranks, 40, 40, DType::fp64, Reduction::sum);
  expect(x.bytes() == sum.bytes() && y.bytes() == sum.bytes(), "both sums, though nobody waited");
}

/// Rounds of every kind in close succession, without a barrier between them.
void collectives_in_close_succession(World& world) {
  const auto ranks = all_ranks(world);
  const auto group = world.make_group(ranks);
  for (int round = 0; round < 100; ++round) {
    const std::int64_t cols = 1 + round % 7 * 40;
    const Storage x = filled(2, cols, DType::fp32, world.rank());
    group->all_reduce(x.matrix());
    group->broadcast(x.matrix(), round % world.size());
    expect(x.bytes() == reduced(ranks, 2, cols, DType::fp32, Reduction::sum).bytes(),
           "the same sum in every round");
    const Storage mine = filled(1, 1, DType::int32, world.rank() + round);
    const Storage everyones(world.size(), 1, DType::int32);
    group->all_gather(mine.matrix(), everyones.matrix());
    for (const int rank : ranks) {
      expect(element(everyones.matrix(), rank) == sample(DType::int32, rank + round, 0),
             "what each rank has in this round");
    }
  }
}

constexpr auto checks = std::to_array<ConformanceCheck>({
    {"AllReduce", all_reduce},
    {"ReduceScatterThenAllGather", reduce_scatter_then_all_gather},
    {"AllGather", all_gather},
    {"Broadcast", broadcast},
    {"Bf16IsRoundedOnce", bf16_is_rounded_once},
    {"MaximumShowsANan", maximum_shows_a_nan},
    {"Int32WrapsAround", int32_wraps_around},
    {"GroupsOfAMesh", groups_of_a_mesh},
    {"ManyMessagesUnderWay", many_messages_under_way},
    {"LargeMessagesAroundARing", large_messages_around_a_ring},
    {"GroupsOfTheSameRanksAreKeptApart", groups_of_the_same_ranks_are_kept_apart},
    {"StreamsRunBesideTheRank", streams_run_beside_the_rank},
    {"AStreamEndsWhatItWasGiven", a_stream_ends_what_it_was_given},
    {"CollectivesInCloseSuccession", collectives_in_close_succession},
});

}  // namespace

std::span<const ConformanceCheck> conformance_checks() { return checks; }

}  // namespace kumihimo
