#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/error.hpp"
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

/// Points in the output of nccl-tests (all_reduce_perf, all_gather_perf, reduce_scatter_perf,
/// sendrecv_perf) or of OSU micro-benchmarks (osu_allreduce, osu_allgather, osu_reduce_scatter,
/// osu_latency); out-of-place times. `ranks`: for OSU's output, which does not state them.
Expected<std::vector<CollectivePoint>> parse_collectives(std::string_view text,
                                                         std::string_view where,
                                                         std::optional<int> ranks);

}  // namespace kumihimo
