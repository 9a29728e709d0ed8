#pragma once

#include <optional>
#include <string>
#include <vector>

#include "search/search.hpp"

namespace kumihimo {

/// A layout that differs from another in one knob (data parallelism takes up the slack).
struct Neighbour {
  std::string knob;  ///< "tp", "micro-batch", "recompute": the keys of parse_layout
  std::string from;
  std::string to;
  ParallelLayout layout;
  std::optional<Prediction> prediction;  ///< absent where the layout is invalid
  bool fits = false;
  /// Empty where it runs; else why not, with the remedy or the memory that it would need.
  std::string reason;
};

/// The next lower and higher value of every number and every other value of every choice, one at a
/// time, around a valid `layout`. request.space is not used: the values are all that there are.
/// Knobs without effect on `layout` are left out. Order: as the knobs stand in ParallelLayout.
/// `progress` hears how many are judged, which takes seconds where a step has millions of passes.
std::vector<Neighbour> neighbours(const ParallelLayout& layout, const SearchRequest& request,
                                  const SearchProgress& progress = {});

}  // namespace kumihimo
