#pragma once

#include <cstddef>
#include <string_view>

#include "search/search.hpp"

namespace kumihimo {

/// The largest peak of a layout that fits() under the request's limits.
double memory_limit(const SearchRequest& request);

/// The device's categories of MemoryUse, numbered in its order.
inline constexpr std::size_t number_of_memory_categories = 7;

std::string_view memory_category_name(std::size_t category);
std::size_t largest_memory_category(const MemoryUse& use);

}  // namespace kumihimo
