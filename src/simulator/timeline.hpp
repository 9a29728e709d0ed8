#pragma once

#include <string>

#include "simulator/simulate.hpp"

namespace kumihimo {

/// A played pipeline as text of at most `width` columns: a row per pipeline rank, time to the
/// right. A forward pass shows the last digit of its micro-batch, a backward pass ▒, a weight
/// gradient on its own ░, waiting ·. Where the whole does not fit, its start and end are shown at a
/// scale at which a pass is two columns, and "…" stands for the middle; of many ranks the first and
/// last. Requires spans (simulate with keep_spans) and width >= 40.
std::string timeline_text(const SimulatedStep& played, int width);

/// What the marks mean, in one line.
std::string timeline_legend();

}  // namespace kumihimo
