#include "advise/attribution.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

namespace kumihimo {
namespace {

constexpr int sampled_orders = 2000;
constexpr unsigned seed = 20231009;

OptionSet bit_of(std::size_t option) { return OptionSet{1} << option; }

/// The players of a dense number, as options.
OptionSet options_of(unsigned dense, const std::vector<std::size_t>& players) {
  OptionSet set = 0;
  for (std::size_t i = 0; i < players.size(); ++i) {
    if ((dense >> i & 1) != 0) set |= bit_of(players[i]);
  }
  return set;
}

Attribution exact(const std::vector<std::size_t>& players, const SetValue& value) {
  const std::size_t n = players.size();
  std::vector<double> values(std::size_t{1} << n);
  for (unsigned set = 0; set < values.size(); ++set) values[set] = value(options_of(set, players));
  // |S|! (n - |S| - 1)! / n! = 1 / (n choose |S|) / (n - |S|)
  std::vector<double> weight(n);
  double choose = 1;
  for (std::size_t size = 0; size < n; ++size) {
    weight[size] = 1 / (choose * static_cast<double>(n - size));
    choose = choose * static_cast<double>(n - size) / static_cast<double>(size + 1);
  }
  Attribution result{std::vector<double>(n), true, 0};
  for (unsigned set = 0; set < values.size(); ++set) {
    for (std::size_t i = 0; i < n; ++i) {
      if ((set >> i & 1) != 0) continue;
      result.shares[i] += weight[static_cast<std::size_t>(std::popcount(set))] *
                          (values[set | 1U << i] - values[set]);
    }
  }
  return result;
}

Attribution sampled(const std::vector<std::size_t>& players, const SetValue& value) {
  const std::size_t n = players.size();
  std::vector<double> sum(n), squares(n);
  std::vector<std::size_t> order(n);
  for (std::size_t i = 0; i < n; ++i) order[i] = i;
  std::mt19937 random(seed);
  const double none = value(0);
  for (int sample = 0; sample < sampled_orders; ++sample) {
    // Fisher and Yates by hand: std::shuffle differs between standard libraries.
    for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
    OptionSet set = 0;
    double before = none;
    for (const std::size_t player : order) {
      set |= bit_of(players[player]);
      const double after = value(set);
      sum[player] += after - before;
      squares[player] += (after - before) * (after - before);
      before = after;
    }
  }
  Attribution result{std::vector<double>(n), false, 0};
  for (std::size_t i = 0; i < n; ++i) {
    const double mean = sum[i] / sampled_orders;
    const double variance = std::max(0.0, squares[i] / sampled_orders - mean * mean);
    result.shares[i] = mean;
    result.standard_error = std::max(result.standard_error, std::sqrt(variance / sampled_orders));
  }
  return result;
}

}  // namespace

Attribution shapley(const std::vector<std::size_t>& players, const SetValue& value) {
  return players.size() <= most_exact_options ? exact(players, value) : sampled(players, value);
}

std::vector<OptionPair> interactions(const std::vector<std::size_t>& players,
                                     const SetValue& value) {
  std::vector<OptionPair> result;
  const double none = value(0);
  for (std::size_t i = 0; i < players.size(); ++i) {
    for (std::size_t j = i + 1; j < players.size(); ++j) {
      const OptionSet a = bit_of(players[i]), b = bit_of(players[j]);
      result.push_back({players[i], players[j], value(a | b) - value(a) - value(b) + none});
    }
  }
  std::ranges::stable_sort(result, std::greater{},
                           [](const OptionPair& pair) { return std::abs(pair.together); });
  return result;
}

}  // namespace kumihimo
