#pragma once

#include <cstddef>
#include <string_view>

#include "search/search.hpp"

namespace kumihimo {

/// What a layout may need to fit() under a request's limits.
struct MemoryLimits {
  double device_bytes = 0;  ///< peak of the fullest pipeline rank
  double host_bytes = 0;    ///< of the fullest node

  bool allow(double device_peak_bytes, double host_bytes_of_node) const {
    return device_peak_bytes <= device_bytes && host_bytes_of_node <= host_bytes;
  }
  /// The larger share of what is allowed: above 1 where a layout does not fit.
  double demand(double device_peak_bytes, double host_bytes_of_node) const;
};

MemoryLimits memory_limits(const SearchRequest& request);

/// Beside the device's categories: offloaded states that the node's host cannot hold.
inline constexpr std::string_view host_memory_name = "host memory";

/// The device's categories of MemoryUse, numbered in its order.
inline constexpr std::size_t number_of_memory_categories = 7;

std::string_view memory_category_name(std::size_t category);
std::size_t largest_memory_category(const MemoryUse& use);

}  // namespace kumihimo
