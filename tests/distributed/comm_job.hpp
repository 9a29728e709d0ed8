#pragma once

#include "unit/comm/conformance.hpp"

namespace kumihimo {

// What jobs of several processes are tested with, whatever has started them.

/// The conformance suite, matrices larger than a transfer's pieces, and `more`; rank 0 says what
/// has passed.
void run_all_checks(World& world, ConformanceCheck more);

/// Rank 1 throws "no more", with a collective under way on its stream to which nobody else comes,
/// while the others wait for it.
void fail_on_rank_1(World& world);

}  // namespace kumihimo
