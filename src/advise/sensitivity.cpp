#include "advise/sensitivity.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "base/units.hpp"
#include "layout/canonical.hpp"
#include "search/layout_judge.hpp"

namespace kumihimo {
namespace {

constexpr double precision_of_threshold = 0.02;
constexpr double tolerance = 0.01;  // of the step time
constexpr double octaves = 3;       // each way
constexpr double steps_each = 2;    // points an octave on a line
constexpr double map_steps_each = 1;

bool is_count(SensitivityAxis axis) {
  return axis == SensitivityAxis::devices || axis == SensitivityAxis::global_batch ||
         axis == SensitivityAxis::seq_length;
}

double amount_of(const SearchRequest& request, SensitivityAxis axis) {
  switch (axis) {
    case SensitivityAxis::inter_node_bandwidth: return request.cluster.inter_node.bandwidth;
    case SensitivityAxis::device_memory: return static_cast<double>(request.cluster.device.memory);
    case SensitivityAxis::devices: return static_cast<double>(request.devices);
    case SensitivityAxis::global_batch: return static_cast<double>(request.job.global_batch_size);
    case SensitivityAxis::seq_length: return static_cast<double>(request.job.seq_length);
  }
  return 0;
}

std::vector<double> amounts(double today, bool count, double each) {
  std::vector<double> result;
  for (double step = -octaves * each; step <= octaves * each; ++step) {
    const double amount = today * std::exp2(step / each);
    if (count && (amount != std::floor(amount) || amount < 1)) continue;
    result.push_back(amount);
  }
  return result;
}

SensitivityPoint point(const SearchRequest& request, SensitivityAxis axis, double amount) {
  SensitivityPoint result{amount, std::nullopt};
  const std::optional<SearchRequest> searched = varied(request, axis, amount);
  if (!searched) return result;
  SearchResult found = search(*searched);
  if (!found.best.empty()) result.best = std::move(found.best.front());
  return result;
}

/// `layout` at another amount, its replicas adapted; nothing where it cannot run there.
std::optional<Prediction> at_amount(const SearchRequest& request, SensitivityAxis axis,
                                    double amount, ParallelLayout layout) {
  const std::optional<SearchRequest> there = varied(request, axis, amount);
  if (!there) return std::nullopt;
  const std::int64_t replica = layout.devices() / layout.data_parallel;
  if (there->devices % replica != 0) return std::nullopt;
  layout.data_parallel = static_cast<int>(there->devices / replica);
  layout = canonical(layout);
  if (LayoutJudge(*there).fault_of(layout)) return std::nullopt;
  Prediction prediction = predict(there->job, layout, there->cluster, there->profile);
  if (!fits(prediction, *there)) return std::nullopt;
  return prediction;
}

/// Whether the layout of a region (none: nothing fits) still stands at a point.
bool stands(const SearchRequest& request, SensitivityAxis axis,
            const std::optional<ParallelLayout>& layout, const SensitivityPoint& point) {
  if (!layout || !point.best) return layout.has_value() == point.best.has_value();
  const auto own = at_amount(request, axis, point.amount, *layout);
  return own && own->step_s <= point.best->prediction.step_s * (1 + tolerance);
}

std::optional<ParallelLayout> winner(const SensitivityPoint& point) {
  return point.best ? std::optional(point.best->layout) : std::nullopt;
}

/// Where between two amounts the layout that stands at `inside` no longer does.
double threshold_between(const SearchRequest& request, SensitivityAxis axis,
                         const std::optional<ParallelLayout>& layout, double inside,
                         double outside) {
  if (is_count(axis)) return std::max(inside, outside);
  while (std::abs(std::log(inside / outside)) > precision_of_threshold) {
    const double middle = std::sqrt(inside * outside);
    (stands(request, axis, layout, point(request, axis, middle)) ? inside : outside) = middle;
  }
  return std::sqrt(inside * outside);
}

/// Regions from today's amount outwards, in the direction of `step`; the first is today's.
void walk(const SearchRequest& request, const Sensitivity& sensitivity, std::ptrdiff_t today,
          std::ptrdiff_t step, std::vector<SensitivityRegion>& regions,
          std::vector<double>& thresholds) {
  const std::vector<SensitivityPoint>& points = sensitivity.points;
  const auto at = [&](std::ptrdiff_t i) -> const SensitivityPoint& {
    return points[static_cast<std::size_t>(i)];
  };
  regions.push_back({at(today).amount, at(today).amount, winner(at(today))});
  for (std::ptrdiff_t i = today + step; i >= 0 && i < std::ssize(points); i += step) {
    SensitivityRegion& region = regions.back();
    if (stands(request, sensitivity.axis, region.layout, at(i))) {
      (step > 0 ? region.to : region.from) = at(i).amount;
      continue;
    }
    thresholds.push_back(threshold_between(request, sensitivity.axis, region.layout,
                                           at(i - step).amount, at(i).amount));
    regions.push_back({at(i).amount, at(i).amount, winner(at(i))});
  }
}

void find_regions(const SearchRequest& request, Sensitivity& result) {
  const auto today = std::ranges::find(result.points, result.today, &SensitivityPoint::amount) -
                     result.points.begin();
  if (today == std::ssize(result.points)) return;
  std::vector<SensitivityRegion> up, down;
  std::vector<double> above, below;
  walk(request, result, today, 1, up, above);
  walk(request, result, today, -1, down, below);
  up.front().from = down.front().from;
  result.regions.assign(down.rbegin(), down.rend() - 1);
  result.regions.insert(result.regions.end(), up.begin(), up.end());
  for (auto amount = below.rbegin(); amount != below.rend(); ++amount) {
    result.thresholds.push_back({*amount});
  }
  for (const double amount : above) result.thresholds.push_back({amount});
}

}  // namespace

std::string_view key_of(SensitivityAxis axis) {
  switch (axis) {
    case SensitivityAxis::inter_node_bandwidth: return "inter_node_bandwidth";
    case SensitivityAxis::device_memory: return "device_memory";
    case SensitivityAxis::devices: return "devices";
    case SensitivityAxis::global_batch: return "global_batch";
    case SensitivityAxis::seq_length: return "seq_length";
  }
  return "?";
}

std::string amount_text(SensitivityAxis axis, double amount) {
  switch (axis) {
    case SensitivityAxis::inter_node_bandwidth: return format_bytes_per_second(amount);
    case SensitivityAxis::device_memory: return format_bytes(amount);
    default: return grouped(std::llround(amount));
  }
}

std::optional<SearchRequest> varied(const SearchRequest& request, SensitivityAxis axis,
                                    double amount) {
  SearchRequest result = request;
  const auto count = static_cast<std::int64_t>(std::llround(amount));
  switch (axis) {
    case SensitivityAxis::inter_node_bandwidth:
      result.cluster.inter_node.bandwidth = amount;
      return result;
    case SensitivityAxis::device_memory: result.cluster.device.memory = count; return result;
    case SensitivityAxis::devices: result.devices = count; break;
    case SensitivityAxis::global_batch: result.job.global_batch_size = count; break;
    case SensitivityAxis::seq_length: {
      const double tokens = static_cast<double>(request.job.seq_length) *
                            static_cast<double>(request.job.global_batch_size);
      const double batch = tokens / amount;
      if (batch < 1 || batch != std::floor(batch)) return std::nullopt;
      result.job.seq_length = count;
      result.job.global_batch_size = static_cast<std::int64_t>(batch);
      break;
    }
  }
  // Lists that follow devices and job; kernels and precision stay.
  const SearchSpace space =
      default_space(result.job, result.cluster, result.devices, result.profile);
  result.space.tensor_parallel = space.tensor_parallel;
  result.space.pipeline_parallel = space.pipeline_parallel;
  result.space.context_parallel = space.context_parallel;
  result.space.micro_batch_size = space.micro_batch_size;
  result.space.data_parallel.clear();
  return result;
}

bool same_choice(const ParallelLayout& a, const ParallelLayout& b) {
  ParallelLayout other = b;
  other.data_parallel = a.data_parallel;
  other.layer_split = a.layer_split;
  return a == other;
}

Sensitivity sensitivity(const SearchRequest& request, SensitivityAxis axis) {
  SearchRequest searched = request;
  searched.limit = 1;
  Sensitivity result{.axis = axis, .today = amount_of(request, axis)};
  for (const double amount :
       amounts(result.today, is_count(axis), is_count(axis) ? 1 : steps_each)) {
    result.points.push_back(point(searched, axis, amount));
  }
  find_regions(searched, result);
  return result;
}

SensitivityMap sensitivity_map(const SearchRequest& request, SensitivityAxis x, SensitivityAxis y) {
  SearchRequest searched = request;
  searched.limit = 1;
  SensitivityMap map{.x = x, .y = y};
  map.x_amounts = amounts(amount_of(request, x), is_count(x), map_steps_each);
  map.y_amounts = amounts(amount_of(request, y), is_count(y), map_steps_each);
  for (const double y_amount : map.y_amounts) {
    const auto row = varied(searched, y, y_amount);
    for (const double x_amount : map.x_amounts) {
      const SensitivityPoint at =
          row ? point(*row, x, x_amount) : SensitivityPoint{x_amount, std::nullopt};
      if (!at.best) {
        map.winner.push_back(-1);
        map.mfu.push_back(0);
        continue;
      }
      auto found = std::ranges::find_if(map.layouts, [&](const ParallelLayout& layout) {
        return same_choice(layout, at.best->layout);
      });
      if (found == map.layouts.end()) {
        map.layouts.push_back(at.best->layout);
        found = map.layouts.end() - 1;
      }
      map.winner.push_back(static_cast<int>(found - map.layouts.begin()));
      map.mfu.push_back(at.best->prediction.mfu);
    }
  }
  return map;
}

}  // namespace kumihimo
