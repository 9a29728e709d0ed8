#pragma once

#include <span>
#include <vector>

#include "comm/world.hpp"
#include "runs/collective_points.hpp"

namespace kumihimo {

/// Times all collectives among all ranks of `world`, and among the first two if there are more,
/// over sizes from 1 KiB to 4 MiB, or on GPUs to 256 MiB. Medians. Called by all ranks; the points
/// are rank 0's, others get none. Ranks beyond the second return while the pair is still timed.
/// Requires two ranks.
std::vector<CollectivePoint> measure_collectives(World& world);

/// The same for ranks that are threads of this process. `place`: on what they are timed, where that
/// is not the host.
std::vector<CollectivePoint> measure_collectives(int ranks, const PlaceRank& place = {});

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
