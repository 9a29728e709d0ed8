#include "measure/collectives.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <numeric>

#include "base/check.hpp"
#include "comm/world.hpp"
#include "tensor/gpu.hpp"

namespace kumihimo {
namespace {

constexpr std::array timed_kinds{CollectiveKind::all_reduce, CollectiveKind::all_gather,
                                 CollectiveKind::reduce_scatter, CollectiveKind::send_receive};

/// Bytes that one rank of a ring sends.
double moved_bytes(const CollectivePoint& point) {
  const double ranks = point.ranks;
  switch (point.kind) {
    case CollectiveKind::all_reduce: return 2 * (ranks - 1) / ranks * point.bytes;
    case CollectiveKind::all_gather:
    case CollectiveKind::reduce_scatter: return (ranks - 1) / ranks * point.bytes;
    default: return point.bytes;
  }
}

void run_once(ProcessGroup& group, CollectiveKind kind, const Matrix& whole) {
  const std::int64_t part_rows = whole.rows / group.size();
  const Matrix part = rows_of(whole, group.rank() * part_rows, part_rows);
  switch (kind) {
    case CollectiveKind::all_reduce: group.all_reduce(whole); return;
    case CollectiveKind::all_gather: group.all_gather(part, whole); return;
    case CollectiveKind::reduce_scatter: group.reduce_scatter(whole, part); return;
    default: {
      const int next = (group.rank() + 1) % group.size();
      const int before = (group.rank() + group.size() - 1) % group.size();
      const Matrix out = rows_of(whole, 0, whole.rows / 2);
      const Matrix in = rows_of(whole, whole.rows / 2, whole.rows / 2);
      const auto sent = group.start_send(out, next);
      const auto received = group.start_receive(in, before);
      group.wait(*received);
      group.wait(*sent);
      return;
    }
  }
}

/// Among the world's first ranks, this one among them.
void measure_group(World& world, int ranks, std::vector<CollectivePoint>& points) {
  constexpr int repeats = 9;
  const std::int64_t most_bytes = world.gpu() != nullptr ? 256 << 20 : 4 << 20;
  DeviceMemory memory(memory_of(world.gpu()));
  Workspace workspace(memory);
  std::vector<int> members(static_cast<std::size_t>(ranks));
  std::iota(members.begin(), members.end(), 0);
  const auto group = world.make_group(members);
  for (const CollectiveKind kind : timed_kinds) {
    for (std::int64_t bytes = 1024; bytes <= most_bytes; bytes *= 4) {
      const Workspace::Scope scope(workspace);
      // Two halves are sent and received, so that both ways are open at once.
      const std::int64_t rows = 2 * ranks;
      const std::int64_t cols = std::max<std::int64_t>(1, bytes / 4 / rows);
      // New memory is zero, and what collectives leave there is a number.
      const Matrix whole = workspace.take(rows, cols, DType::fp32);
      run_once(*group, kind, whole);  // whatever the first one sets up is not counted
      std::vector<double> seconds;
      for (int i = 0; i < repeats; ++i) {
        group->barrier();
        const double begin = world.clock().now_s();
        run_once(*group, kind, whole);
        seconds.push_back(world.clock().now_s() - begin);
      }
      if (world.rank() != 0) continue;
      std::ranges::sort(seconds);
      const bool halves = kind == CollectiveKind::send_receive;
      points.push_back({kind, ranks, static_cast<double>(whole.bytes()) / (halves ? 2 : 1),
                        seconds[seconds.size() / 2]});
    }
  }
}

}  // namespace

std::vector<CollectivePoint> measure_collectives(World& world) {
  std::vector<CollectivePoint> points;
  measure_group(world, world.size(), points);
  if (world.size() > 2 && world.rank() < 2) measure_group(world, 2, points);
  return points;
}

std::vector<CollectivePoint> measure_collectives(int ranks, const PlaceRank& place) {
  std::vector<CollectivePoint> points;
  run_threads(ranks, [&](World& host) {
    const std::shared_ptr<World> placed = place ? place(host) : nullptr;
    World& world = placed ? *placed : host;
    const auto own = measure_collectives(world);
    if (world.rank() == 0) points = own;
  });
  return points;
}

bool has_two_sizes(std::span<const CollectivePoint> points) {
  return std::ranges::any_of(points, [&](const CollectivePoint& point) {
    return std::abs(moved_bytes(point) / moved_bytes(points.front()) - 1) > 0.01;
  });
}

LinkFit fit_link(std::span<const CollectivePoint> points) {
  // Minimises the sum of ((fixed + slope x - t) / t)^2.
  double s11 = 0, s12 = 0, s22 = 0, r1 = 0, r2 = 0;
  for (const CollectivePoint& point : points) {
    const double one = 1 / point.seconds, x = moved_bytes(point) / point.seconds;
    s11 += one * one;
    s12 += one * x;
    s22 += x * x;
    r1 += one;
    r2 += x;
  }
  const double determinant = s11 * s22 - s12 * s12;
  KUMIHIMO_CHECK(determinant > 0);
  double fixed = (r1 * s22 - r2 * s12) / determinant;
  double slope = (r2 * s11 - r1 * s12) / determinant;
  if (fixed < 0) {
    fixed = 0;
    slope = r2 / s22;
  }
  slope = std::max(slope, 1e-15);
  LinkFit fit{.bandwidth = 1 / slope, .fixed_s = fixed, .points = static_cast<int>(points.size())};
  double square = 0;
  for (const CollectivePoint& point : points) {
    const double error = std::log(point.seconds / (fixed + slope * moved_bytes(point)));
    square += error * error;
  }
  fit.log_spread = std::sqrt(square / static_cast<double>(points.size()));
  return fit;
}

}  // namespace kumihimo
