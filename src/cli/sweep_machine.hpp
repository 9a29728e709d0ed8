#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>

#include "cli/sweep_request.hpp"
#include "store/store.hpp"

namespace kumihimo {

/// The machine that a sweep's ranks run on, and what the first predictions come from.
struct MeasuredHere {
  Cluster cluster;
  std::optional<std::int64_t> machine;  ///< in the store
  double core_fp32 = 0, core_bf16 = 0;  ///< FLOP/s of one core
  StackProfile stack;
  bool stack_measured = false;  ///< here; else it is the request's own
  bool from_store = false;      ///< the stack was measured by an earlier session
};

/// From the store, or measured now: the stack, where the request wants that, by
/// `calibrate --measure` in processes of its own. `stop` ends that early; the answer is then of
/// no use. An Error where it fails, or where the store's record cannot be read.
Expected<MeasuredHere> measure_here(const SweepRequest& request, Store& store,
                                    const std::filesystem::path& scratch,
                                    const std::stop_token& stop);

}  // namespace kumihimo
