#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "comm/world.hpp"
#include "model/operations.hpp"

namespace kumihimo {

/// One collective that was timed.
struct CollectivePoint {
  CollectiveKind kind = CollectiveKind::all_reduce;
  int ranks = 2;
  double bytes = 0;  ///< as CollectiveKind counts them
  double seconds = 0;
};

std::string_view to_string(CollectiveKind kind);

/// Times all collectives among all ranks of `world`, and among the first two if there are more,
/// over sizes from 1 KiB to 4 MiB, or on GPUs to 256 MiB. Medians. Called by all ranks; the points
/// are rank 0's, others get none. Ranks beyond the second return while the pair is still timed.
/// Requires two ranks.
std::vector<CollectivePoint> measure_collectives(World& world);

/// The same for ranks that are threads of this process. `place`: on what they are timed, where that
/// is not the host.
std::vector<CollectivePoint> measure_collectives(int ranks, const PlaceRank& place = {});

/// Points in the output of nccl-tests (all_reduce_perf, all_gather_perf, reduce_scatter_perf,
/// sendrecv_perf) or of OSU micro-benchmarks (osu_allreduce, osu_allgather, osu_reduce_scatter,
/// osu_latency); out-of-place times. `ranks`: for OSU's output, which does not state them.
Expected<std::vector<CollectivePoint>> parse_collectives(std::string_view text,
                                                         std::string_view where,
                                                         std::optional<int> ranks);

/// seconds = fixed + moved bytes / bandwidth, where moved bytes are those that the ring algorithm
/// sends from one rank.
struct LinkFit {
  double bandwidth = 0;  ///< bytes/s
  double fixed_s = 0;
  double log_spread = 0;  ///< standard deviation of log(measured / fitted)
  int points = 0;
};

/// Whether the points are of two sizes at least: one size tells nothing of a link.
bool has_two_sizes(std::span<const CollectivePoint> points);

/// Least squares of relative errors. Requires has_two_sizes.
LinkFit fit_link(std::span<const CollectivePoint> points);

}  // namespace kumihimo
