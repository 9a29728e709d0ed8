#pragma once

#include "base/units.hpp"

namespace kumihimo {

/// Device memory of one rank by category, in bytes. The first three are exact counts of what the
/// layout places there; the others are predictions.
struct MemoryUse {
  Bytes weights = 0;
  Bytes gradients = 0;
  Bytes optimizer = 0;
  double activations = 0;    ///< kept for backward, at the peak of the schedule
  double communication = 0;  ///< gathered weights, reduction buckets
  double workspace = 0;      ///< temporaries of the layer, or the loss, that is being computed
  double context = 0;        ///< driver, libraries, allocator's unused reserve
  double host = 0;           ///< in host memory, by offload; not part of the total

  double total() const {
    return static_cast<double>(weights + gradients + optimizer) + activations + communication +
           workspace + context;
  }
};

}  // namespace kumihimo
