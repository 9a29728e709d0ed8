#include "base/units.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <span>
#include <system_error>
#include <vector>

#include "base/shown_text.hpp"

namespace kumihimo {
namespace {

struct Unit {
  std::string_view name;
  double factor;
  double divisor = 1;  ///< 5us is 5 / 1e6 s, the number nearest to it: 5 x 1e-6 is not
};

constexpr std::array byte_units{
    Unit{"B", 1},     Unit{"kB", 1e3},  Unit{"MB", 1e6},  Unit{"GB", 1e9},         Unit{"TB", 1e12},
    Unit{"KiB", KiB}, Unit{"MiB", MiB}, Unit{"GiB", GiB}, Unit{"TiB", 1024 * GiB},
};
constexpr std::array byte_rate_units{
    Unit{"B/s", 1},        Unit{"kB/s", 1e3},      Unit{"MB/s", 1e6},
    Unit{"GB/s", 1e9},     Unit{"TB/s", 1e12},     Unit{"KiB/s", KiB},
    Unit{"MiB/s", MiB},    Unit{"GiB/s", GiB},     Unit{"TiB/s", 1024 * GiB},
    Unit{"bps", 1, 8},     Unit{"kbps", 1e3 / 8},  Unit{"Mbps", 1e6 / 8},
    Unit{"Gbps", 1e9 / 8}, Unit{"Tbps", 1e12 / 8},
};
constexpr std::array flop_rate_units{
    Unit{"FLOP/s", 1},     Unit{"kFLOP/s", 1e3},  Unit{"MFLOP/s", 1e6},  Unit{"GFLOP/s", 1e9},
    Unit{"TFLOP/s", 1e12}, Unit{"PFLOP/s", 1e15}, Unit{"EFLOP/s", 1e18},
};
constexpr std::array time_units{
    Unit{"ns", 1, 1e9}, Unit{"us", 1, 1e6}, Unit{"ms", 1, 1e3}, Unit{"s", 1},
    Unit{"min", 60},    Unit{"h", 3600},    Unit{"d", 86400},
};
constexpr std::array power_units{Unit{"W", 1}, Unit{"kW", 1e3}};
// In the order of Currency.
constexpr std::array currencies{Unit{"USD", 1}, Unit{"EUR", 1}, Unit{"JPY", 1}};
constexpr std::array ratio_units{Unit{"", 1}, Unit{"%", 1, 100}};

/// How a dimension is written. `largest` is beyond any machine, and small enough that sums and
/// products of a few such values, and bytes as 64-bit integers, stay finite and exact in range.
struct DimensionRule {
  std::string_view noun;
  std::span<const Unit> units;
  std::string_view example;
  double largest;
};

DimensionRule rule_of(Dimension dimension) {
  switch (dimension) {
    case Dimension::bytes: return {"an amount of memory", byte_units, "80GiB", 1e18};
    case Dimension::bytes_per_second: return {"a data rate", byte_rate_units, "400Gbps", 1e18};
    case Dimension::flop_per_second: return {"a rate of work", flop_rate_units, "312TFLOP/s", 1e24};
    case Dimension::seconds: return {"a duration", time_units, "2.5us", 1e12};
    case Dimension::watts: return {"a power", power_units, "700W", 1e12};
    case Dimension::money: return {"an amount of money", currencies, "2.10USD", 1e15};
    case Dimension::ratio: return {"a ratio", ratio_units, "0.35\" or \"35%", 1e9};
  }
  KUMIHIMO_CHECK(false);
}

struct Quantity {
  double value;
  std::size_t unit;  ///< its place in the rule's units
};

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

/// `value` with three significant digits, without exponent.
std::string three_digits(double value) {
  if (value < 9.995) return fmt::format("{:.2f}", value);
  if (value < 99.95) return fmt::format("{:.1f}", value);
  return fmt::format("{:.0f}", value);
}

/// Scales `value` to the first unit in which it stays below `base`.
std::string with_prefix(double value, double base, std::span<const std::string_view> units) {
  if (!std::isfinite(value)) return fmt::format("{} {}", value, units.front());
  if (value < 0) return "-" + with_prefix(-value, base, units);
  std::size_t unit = 0;
  while (unit + 1 < units.size() && value >= base - 0.5) {
    value /= base;
    ++unit;
  }
  if (value >= 1e6) return fmt::format("{:.3g} {}", value, units[unit]);
  if (value == std::floor(value) && unit == 0) return fmt::format("{:.0f} {}", value, units[unit]);
  return fmt::format("{} {}", three_digits(value), units[unit]);
}

/// "2 d 3 h": `total` counts the smaller unit, `per_larger` of which make the larger one.
std::string two_parts(double total, double per_larger, std::string_view larger,
                      std::string_view smaller) {
  const double count = std::round(total);
  const double head = std::floor(count / per_larger), tail = count - head * per_larger;
  if (tail == 0) return fmt::format("{:.0f} {}", head, larger);
  return fmt::format("{:.0f} {} {:.0f} {}", head, larger, tail, smaller);
}

Expected<Quantity> parse(std::string_view text, Dimension dimension, std::string_view where) {
  const DimensionRule rule = rule_of(dimension);
  std::vector<std::string_view> unit_names;
  for (const Unit& unit : rule.units) {
    if (!unit.name.empty()) unit_names.push_back(unit.name);
  }
  const std::string remedy = dimension == Dimension::ratio
                                 ? fmt::format("write it like \"{}\"", rule.example)
                                 : fmt::format("write it like \"{}\"; units: {}", rule.example,
                                               fmt::join(unit_names, ", "));
  const auto fault = [&](std::string_view reason) {
    return Error{std::string(where), fmt::format("is {}, {}", shown_quoted(text), reason), remedy};
  };

  const std::string_view body = trimmed(text);
  double number = 0;
  const auto [end, status] = std::from_chars(body.data(), body.data() + body.size(), number);
  if (status == std::errc::result_out_of_range) return fault("a number out of range");
  if (status != std::errc{}) return fault(fmt::format("which is not {}", rule.noun));
  if (!std::isfinite(number)) return fault("which is not a finite number");
  if (std::signbit(number)) return fault("which is negative");

  const std::string_view unit_name =
      trimmed(body.substr(static_cast<std::size_t>(end - body.data())));
  const auto unit = std::find_if(rule.units.begin(), rule.units.end(),
                                 [&](const Unit& known) { return known.name == unit_name; });
  if (unit == rule.units.end()) {
    if (unit_name.empty()) return fault("a bare number: the unit is missing");
    return fault(
        fmt::format("whose unit {} is not one for {}", shown_quoted(unit_name), rule.noun));
  }
  const double value = number * unit->factor / unit->divisor;
  if (value > rule.largest) return fault("which is beyond any machine");
  return Quantity{value, static_cast<std::size_t>(unit - rule.units.begin())};
}

}  // namespace

Expected<double> parse_quantity(std::string_view text, Dimension dimension,
                                std::string_view where) {
  const Expected<Quantity> quantity = parse(text, dimension, where);
  if (!quantity) return quantity.errors();
  return quantity->value;
}

std::string_view to_string(Currency currency) {
  return currencies[static_cast<std::size_t>(currency)].name;
}

Expected<Money> parse_money(std::string_view text, std::string_view where) {
  const Expected<Quantity> quantity = parse(text, Dimension::money, where);
  if (!quantity) return quantity.errors();
  return Money{quantity->value, static_cast<Currency>(quantity->unit)};
}

std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  const int first = number < 0 ? 1 : 0;
  for (int at = static_cast<int>(digits.size()) - 3; at > first; at -= 3) digits.insert(at, ",");
  return digits;
}

std::string format_bytes(double bytes) {
  constexpr std::array<std::string_view, 6> units{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  return with_prefix(bytes, 1024, units);
}

std::string format_seconds(double seconds) {
  if (!std::isfinite(seconds)) return fmt::format("{} s", seconds);
  if (seconds < 0) return "-" + format_seconds(-seconds);
  if (seconds == 0) return "0 s";
  if (seconds < 999.5e-9) return three_digits(seconds * 1e9) + " ns";
  if (seconds < 999.5e-6) return three_digits(seconds * 1e6) + " us";
  if (seconds < 999.5e-3) return three_digits(seconds * 1e3) + " ms";
  if (seconds < 59.95) return three_digits(seconds) + " s";
  if (seconds < 3599.5) return two_parts(seconds, 60, "min", "s");
  if (seconds < 86370) return two_parts(seconds / 60, 60, "h", "min");
  if (seconds < 1e12) return two_parts(seconds / 3600, 24, "d", "h");
  return fmt::format("{:.3g} d", seconds / 86400);
}

std::string format_flop_per_second(double rate) {
  constexpr std::array<std::string_view, 7> units{"FLOP/s",  "kFLOP/s", "MFLOP/s", "GFLOP/s",
                                                  "TFLOP/s", "PFLOP/s", "EFLOP/s"};
  return with_prefix(rate, 1000, units);
}

std::string format_bytes_per_second(double rate) {
  constexpr std::array<std::string_view, 5> units{"B/s", "kB/s", "MB/s", "GB/s", "TB/s"};
  return with_prefix(rate, 1000, units);
}

}  // namespace kumihimo
