#include "search/memory_limit.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/normal.hpp"

namespace kumihimo {
namespace {

struct NamedCategory {
  std::string_view name;
  double (*bytes)(const MemoryUse&);
};

constexpr std::array<NamedCategory, number_of_memory_categories> memory_categories{{
    NamedCategory{"weights", [](const MemoryUse& use) { return static_cast<double>(use.weights); }},
    NamedCategory{"gradients",
                  [](const MemoryUse& use) { return static_cast<double>(use.gradients); }},
    NamedCategory{"optimizer",
                  [](const MemoryUse& use) { return static_cast<double>(use.optimizer); }},
    NamedCategory{"activations", [](const MemoryUse& use) { return use.activations; }},
    NamedCategory{"communication", [](const MemoryUse& use) { return use.communication; }},
    NamedCategory{"workspace", [](const MemoryUse& use) { return use.workspace; }},
    NamedCategory{"context", [](const MemoryUse& use) { return use.context; }},
}};

/// z where a normal variable stays below with that probability; infinite at 0 and 1.
double normal_quantile(double probability) {
  double low = -40, high = 40;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (normal_cdf(middle) < probability ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace

std::string_view memory_category_name(std::size_t category) {
  return memory_categories.at(category).name;
}

std::size_t largest_memory_category(const MemoryUse& use) {
  std::size_t largest = 0;
  for (std::size_t i = 1; i < memory_categories.size(); ++i) {
    if (memory_categories[i].bytes(use) > memory_categories[largest].bytes(use)) largest = i;
  }
  return largest;
}

double MemoryLimits::demand(double device_peak_bytes, double host_bytes_of_node) const {
  const double of_device = device_peak_bytes / device_bytes;
  return host_bytes_of_node > 0 ? std::max(of_device, host_bytes_of_node / host_bytes) : of_device;
}

MemoryLimits memory_limits(const SearchRequest& request) {
  const double probability = request.min_fits_probability;
  double limit = request.max_memory_bytes;
  if (probability > 0) {
    const double z = probability == 0.5 ? 0 : normal_quantile(probability);
    limit = std::min(limit, static_cast<double>(request.cluster.device.memory) *
                                std::exp(-z * request.profile.memory_residual));
  }
  return {limit, static_cast<double>(request.cluster.host_memory)};
}

bool fits(const Prediction& prediction, const SearchRequest& request) {
  return memory_limits(request).allow(prediction.peak_memory_bytes, prediction.host_bytes_of_node);
}

bool fits_host(const Prediction& prediction, const Cluster& cluster) {
  return prediction.host_bytes_of_node <= static_cast<double>(cluster.host_memory);
}

LargestMemory largest_memory_category(const Prediction& prediction) {
  KUMIHIMO_CHECK(!prediction.memory.empty());
  const MemoryUse& fullest = *std::ranges::max_element(prediction.memory, {}, &MemoryUse::total);
  const NamedCategory& category = memory_categories[largest_memory_category(fullest)];
  return {std::string(category.name), category.bytes(fullest)};
}

}  // namespace kumihimo
