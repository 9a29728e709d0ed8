#include "measure/collectives.hpp"

#include <gmock/gmock.h>

namespace kumihimo {
namespace {

TEST(Collectives, TheFitFindsTheLinkThatMadeThePoints) {
  constexpr double bandwidth = 2e9, fixed_s = 20e-6;
  std::vector<CollectivePoint> points;
  for (const int ranks : {2, 4}) {
    for (const double bytes : {1e3, 1e5, 1e7}) {
      const double moved = 2.0 * (ranks - 1) / ranks * bytes;
      points.push_back({CollectiveKind::all_reduce, ranks, bytes, fixed_s + moved / bandwidth});
      points.push_back({CollectiveKind::send_receive, 2, bytes, fixed_s + bytes / bandwidth});
    }
  }
  const LinkFit fit = fit_link(points);
  EXPECT_NEAR(fit.bandwidth, bandwidth, 1e-6 * bandwidth);
  EXPECT_NEAR(fit.fixed_s, fixed_s, 1e-6 * fixed_s);
  EXPECT_LT(fit.log_spread, 1e-9);
}

TEST(Collectives, OneSizeTellsNothingOfALink) {
  const CollectivePoint point{CollectiveKind::all_reduce, 2, 1e6, 1e-3};
  const CollectivePoint twice[] = {point, point};
  EXPECT_FALSE(has_two_sizes(twice));
  EXPECT_FALSE(has_two_sizes({}));
}

TEST(Collectives, ThreadsAreTimedOverSizesAndGroups) {
  const auto points = measure_collectives(3);
  // Four kinds, seven sizes from 1 KiB to 4 MiB by fours, groups of two and three.
  EXPECT_EQ(points.size(), 4U * 7U * 2U);
  for (const CollectivePoint& point : points) EXPECT_GT(point.seconds, 0);
}

}  // namespace
}  // namespace kumihimo
