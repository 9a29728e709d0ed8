#pragma once

#include <optional>
#include <span>

#include "calibrate/validation.hpp"

namespace kumihimo {

/// One standard deviation of log(needed / predicted) memory, by runs that took no part in the fit
/// of their predictions: the value that makes what was seen of them likeliest. A run with a memory
/// figure needed that much; one that ran needed no more than its device has, one that ran out of
/// memory more. One outcome in fifty is taken to have had another cause. Nothing where neither a
/// figure nor a run out of memory is among them: that runs fitted says little.
std::optional<double> memory_spread(std::span<const PredictableRun> runs,
                                    std::span<const RunPrediction> predictions);

}  // namespace kumihimo
