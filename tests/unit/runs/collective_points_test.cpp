#include "runs/collective_points.hpp"

#include <gmock/gmock.h>

namespace kumihimo {
namespace {

constexpr std::string_view nccl_tests = R"(# nThread 1 nGpus 2 minBytes 8 maxBytes 134217728
# Collective test starting: all_reduce_perf
#  Rank  0 Group  0 Pid  1234 on node1 device  0 [0x07] NVIDIA A100
#  Rank  1 Group  0 Pid  1234 on node1 device  1 [0x0a] NVIDIA A100
#
#                                                      out-of-place                in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)
        1024           256     float     sum      -1    12.50    0.08    0.08      0    12.61
     1048576        262144     float     sum      -1    30.00   34.95   34.95      0    30.20
# Out of bounds values : 0 OK
)";

constexpr std::string_view osu = R"(# OSU MPI Allgather Latency Test v7.3
# Datatype: MPI_CHAR.
# Size       Avg Latency(us)
1024                    5.00
2048                    7.50
)";

TEST(CollectivePoints, ReadsNcclTests) {
  const auto points = parse_collectives(nccl_tests, "n.txt", std::nullopt);
  ASSERT_TRUE(points) << to_string(points.errors());
  ASSERT_EQ(points->size(), 2U);
  EXPECT_EQ((*points)[1].kind, CollectiveKind::all_reduce);
  EXPECT_EQ((*points)[1].ranks, 2);
  EXPECT_EQ((*points)[1].bytes, 1048576);
  EXPECT_DOUBLE_EQ((*points)[1].seconds, 30e-6);
}

TEST(CollectivePoints, ReadsOsuWhichCountsWhatEachRankGives) {
  const auto points = parse_collectives(osu, "o.txt", 4);
  ASSERT_TRUE(points) << to_string(points.errors());
  EXPECT_EQ((*points)[0].kind, CollectiveKind::all_gather);
  EXPECT_EQ((*points)[0].bytes, 4 * 1024);
  EXPECT_DOUBLE_EQ((*points)[0].seconds, 5e-6);
  EXPECT_FALSE(parse_collectives(osu, "o.txt", std::nullopt)) << "it does not say how many ranks";
}

TEST(CollectivePoints, OtherTextIsRefused) {
  const auto points = parse_collectives("hello\n1 2 3 4 5\n", "x.txt", 2);
  ASSERT_FALSE(points);
  EXPECT_THAT(to_string(points.errors()), ::testing::HasSubstr("x.txt"));
}

TEST(CollectivePoints, ATimeWithoutEndIsNone) {
  EXPECT_FALSE(parse_collectives("# OSU MPI Allreduce Latency Test\n1024 inf\n", "o.txt", 2));
}

}  // namespace
}  // namespace kumihimo
