#pragma once

#include <functional>
#include <vector>

#include "advise/option_values.hpp"

namespace kumihimo {

/// A number for each set of options.
using SetValue = std::function<double(OptionSet)>;

/// Up to this many options, what depends on every subset is exact.
inline constexpr std::size_t most_exact_options = 12;

struct Attribution {
  std::vector<double> shares;  ///< by player; they add up to value(all) - value(none)
  bool exact = true;
  double standard_error = 0;  ///< the largest of the shares', where sampled
};

/// Shapley values: the mean, over all orders in which the players can come, of what each adds when
/// it comes. Exact over all subsets up to most_exact_options players, else over 2,000 orders from a
/// fixed seed. Source: Shapley 1953, "A value for n-person games".
Attribution shapley(const std::vector<std::size_t>& players, const SetValue& value);

/// Two options whose joint gain is not the sum of their gains, alone at the start.
struct OptionPair {
  std::size_t a = 0, b = 0;
  double together = 0;  ///< value({a, b}) - value({a}) - value({b}) + value({})
};

/// All pairs, the largest first in absolute value.
std::vector<OptionPair> interactions(const std::vector<std::size_t>& players,
                                     const SetValue& value);

}  // namespace kumihimo
