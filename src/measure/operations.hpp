#pragma once

#include <string>
#include <vector>

#include "measure/machine.hpp"
#include "model/transformer.hpp"

namespace kumihimo {

/// What one kind of operation reached, over several shapes.
struct MeasuredShare {
  std::string key;        ///< of a stack profile's parameter: "rates.matmul_fp32"
  std::string what;       ///< "matrix products, 256 x 768 x 256 and 5 others"
  double value = 0;       ///< the median
  double log_spread = 0;  ///< standard deviation of its logarithm over shapes and repeats
  int samples = 0;
};

/// Where a share is above 1, the figure was too low: small tensors live in caches that a copy of
/// 128 MiB does not see, and a busy machine slows a measurement of the peak. Raises the figures to
/// what was reached, so that no share is above 1.
void raise_figures(MachineFigures& figures, std::vector<MeasuredShare>& shares);

/// Times the engine's kernels at a model's shapes, for sequences of `seq_length` and micro-batches
/// of 1 and 4, on one core: products (in fp32 and bf16), attention, norms, element-wise passes, the
/// optimizer. Shares are of `figures`, with the planner's own counts of FLOPs and bytes. Takes some
/// seconds. Empty where the program has no CPU kernels. `gpu`: on that instead of a core, in bf16
/// where the cores' are in fp32.
std::vector<MeasuredShare> measure_operations(const TransformerShape& shape,
                                              std::int64_t seq_length,
                                              const MachineFigures& figures, Gpu* gpu = nullptr);

}  // namespace kumihimo
