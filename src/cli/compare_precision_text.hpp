#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "engine/compare_precision.hpp"

namespace kumihimo {

/// Verdict first, then losses and gaps of up to ten steps, the parameters whose gradients differ
/// most, the tensors with most overflow and underflow. Says that fp8 is emulated where it is used.
std::string to_text(const PrecisionComparison& comparison);

/// All of it: "kumihimo.compare-precision/1".
nlohmann::ordered_json to_json(const PrecisionComparison& comparison);

}  // namespace kumihimo
