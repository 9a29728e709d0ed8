#include "base/number_text.hpp"

#include <array>
#include <cmath>
#include <fmt/format.h>
#include <string_view>

namespace kumihimo {

std::string short_count(double number) {
  constexpr std::array<std::string_view, 5> prefixes{"", " k", " M", " B", " T"};
  std::size_t prefix = 0;
  while (prefix + 1 < prefixes.size() && std::abs(number) >= 999.5) {
    number /= 1000;
    ++prefix;
  }
  const double size = std::abs(number);
  const int decimals = prefix == 0 && number == std::floor(number) ? 0
                       : size < 9.995                              ? 2
                       : size < 99.95                              ? 1
                                                                   : 0;
  return fmt::format("{:.{}f}{}", number, decimals, prefixes[prefix]);
}

std::string short_money(const Money& money) {
  return fmt::format("{} {}", short_count(money.amount), to_string(money.currency));
}

std::string step_text(double seconds) {
  if (seconds >= 1)
    return fmt::format("{:.{}f} s", seconds, seconds < 10 ? 3 : seconds < 100 ? 2 : 1);
  const double ms = 1000 * seconds;
  return fmt::format("{:.{}f} ms", ms, ms < 10 ? 3 : ms < 100 ? 2 : 1);
}

std::string rate_text(double per_second) {
  if (per_second < 99.95) return fmt::format("{:.1f}", per_second);
  return grouped(std::llround(per_second));
}

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

std::string signed_points(double share) {
  // A sign before what rounds to zero would mean nothing.
  const double rounded = std::round(1000 * share) / 10;
  return rounded == 0 ? "0.0" : fmt::format("{:+.1f}", rounded);
}

std::string signed_percent(double share) { return signed_points(share) + " %"; }

}  // namespace kumihimo
