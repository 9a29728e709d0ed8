#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "cost/stack_profile.hpp"
#include "layout/parallel_layout.hpp"

// How far a job lies beyond the runs that a profile was fitted to, and what that does to the error
// of a predicted step time.

namespace kumihimo {

/// One run, or one job to be predicted, as far as a profile's range is concerned.
struct RangePoint {
  const TrainingJob* job = nullptr;
  std::int64_t devices = 0;
  std::string_view device_name;
  std::optional<Precision> precision;  ///< none: left open, and taken as within any range
};

/// The range of some runs. Requires one.
FittedRange range_of(std::span<const RangePoint> runs);

/// Distances beyond a range; 0 and false within it.
struct Extrapolation {
  // Doublings above its larger end, or, negative, below its smaller one.
  double layer_parameters = 0;
  double devices = 0;
  double seq_length = 0;
  bool other_device = false;     ///< no run was on such a device
  bool other_precision = false;  ///< no run had this precision

  bool operator==(const Extrapolation&) const = default;
};

/// Within, where a profile states no range.
Extrapolation extrapolation(const StackProfile& profile, const RangePoint& point);

/// One standard deviation of the logarithm of a predicted step time. Within the range it is the
/// profile's own; beyond it each distance adds in quadrature what it was found to add.
/// docs/accuracy.md, "Beyond the runs of a profile", has the runs that were held out for that.
double step_time_error(const StackProfile& profile, const Extrapolation& beyond);

}  // namespace kumihimo
