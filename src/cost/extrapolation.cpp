#include "cost/extrapolation.hpp"

#include <algorithm>
#include <cmath>

#include "base/check.hpp"
#include "model/parameters.hpp"

namespace kumihimo {
namespace {

// Standard deviations of log step time, fitted by scripts/accuracy_range.py to groups of runs that
// were held out of a profile's fit by model, number of devices, sequence length, device or
// precision.
constexpr double per_doubling_of_parameters = 0.049;
constexpr double per_doubling_of_devices = 0.029;
constexpr double per_doubling_of_seq_length = 0.052;
constexpr double on_another_device = 0.2;
constexpr double in_another_precision = 0.088;

double layer_parameters(const TransformerShape& model) {
  return static_cast<double>(count_parameters(model).per_layer() * model.layers);
}

double doublings_beyond(const Interval& interval, double value) {
  if (value > interval.most) return std::log2(value / interval.most);
  if (value < interval.least) return std::log2(value / interval.least);
  return 0;
}

/// Where a file names none, nothing is new.
template <class Values, class Value>
bool is_new(const Values& known, const Value& value) {
  return !known.empty() && std::ranges::find(known, value) == known.end();
}

template <class Values, class Value>
void insert_new(Values& known, const Value& value) {
  if (known.empty() || is_new(known, value)) known.emplace_back(value);
}

}  // namespace

FittedRange range_of(std::span<const RangePoint> runs) {
  KUMIHIMO_CHECK(!runs.empty());
  const auto interval_of = [&](const auto& value_of) {
    const double first = value_of(runs.front());
    Interval interval{first, first};
    for (const RangePoint& run : runs) {
      interval.least = std::min(interval.least, value_of(run));
      interval.most = std::max(interval.most, value_of(run));
    }
    return interval;
  };
  FittedRange range;
  range.layer_parameters =
      interval_of([](const RangePoint& run) { return layer_parameters(run.job->model); });
  range.devices =
      interval_of([](const RangePoint& run) { return static_cast<double>(run.devices); });
  range.seq_length =
      interval_of([](const RangePoint& run) { return static_cast<double>(run.job->seq_length); });
  for (const RangePoint& run : runs) {
    insert_new(range.device_names, run.device_name);
    if (run.precision) insert_new(range.precisions, *run.precision);
  }
  std::ranges::sort(range.device_names);
  std::ranges::sort(range.precisions);
  return range;
}

Extrapolation extrapolation(const StackProfile& profile, const RangePoint& point) {
  Extrapolation beyond;
  if (!profile.range) return beyond;
  const FittedRange& range = *profile.range;
  beyond.layer_parameters =
      doublings_beyond(range.layer_parameters, layer_parameters(point.job->model));
  beyond.devices = doublings_beyond(range.devices, static_cast<double>(point.devices));
  beyond.seq_length =
      doublings_beyond(range.seq_length, static_cast<double>(point.job->seq_length));
  beyond.other_device = is_new(range.device_names, point.device_name);
  beyond.other_precision = point.precision && is_new(range.precisions, *point.precision);
  return beyond;
}

double step_time_error(const StackProfile& profile, const Extrapolation& beyond) {
  double variance = profile.time_residual * profile.time_residual;
  const auto add = [&](double error) { variance += error * error; };
  add(per_doubling_of_parameters * beyond.layer_parameters);
  add(per_doubling_of_devices * beyond.devices);
  add(per_doubling_of_seq_length * beyond.seq_length);
  if (beyond.other_device) add(on_another_device);
  if (beyond.other_precision) add(in_another_precision);
  return std::sqrt(variance);
}

}  // namespace kumihimo
