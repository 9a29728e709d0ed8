#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "search/search.hpp"

namespace kumihimo {

/// A set of things that a layout may need, such as a kernel to be installed: bit i is thing i.
using Needs = std::uint32_t;

/// What a canonical layout needs; nothing where it is not to be considered at all.
using NeedsOf = std::function<std::optional<Needs>(const ParallelLayout&)>;

/// The best layout for each set of things that one may have.
struct BestByNeeds {
  std::vector<RankedLayout> layouts;
  /// By set (2^things entries): which of `layouts` is the fastest of those that need no more than
  /// the set; negative where none fits.
  std::vector<std::int32_t> best;

  const RankedLayout* at(Needs has) const {
    const std::int32_t index = best[has];
    return index < 0 ? nullptr : &layouts[static_cast<std::size_t>(index)];
  }
};

inline constexpr int most_needs = 18;

/// For every set at once what search() with Objective::step_time and limit 1 finds among the
/// layouts that need no more than the set; exact, ties included. One pass judges all layouts; a
/// layout is played only where its lower bound beats what every superset of its needs already has
/// from sets below. Requires request_faults() to be empty and things <= most_needs.
/// `needs_of` is called from several threads.
BestByNeeds best_by_needs(const SearchRequest& request, int things, const NeedsOf& needs_of);

}  // namespace kumihimo
