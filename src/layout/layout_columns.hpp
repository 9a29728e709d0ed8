#pragma once

#include <string>
#include <vector>

#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// One knob of a layout as text.
struct Knob {
  std::string title;
  std::string (*value)(const ParallelLayout&);
};

/// Knobs beyond tp, pp, dp and micro-batch.
const std::vector<Knob>& further_knobs();

/// Those of the further knobs on which the layouts differ: columns of a table.
std::vector<Knob> differing_knobs(const std::vector<ParallelLayout>& layouts);

/// Those on which they do not: what is said once.
std::vector<Knob> shared_knobs(const std::vector<ParallelLayout>& layouts);

/// What all of the layouts share, in a line: "1f1b, recompute none, flash2 attention, ...".
std::string shared_knobs_text(const std::vector<ParallelLayout>& layouts);

}  // namespace kumihimo
