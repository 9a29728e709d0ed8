#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace kumihimo {

using Bytes = std::int64_t;

inline constexpr double KiB = 1024.0, MiB = 1024.0 * KiB, GiB = 1024.0 * MiB;

/// What a quantity in a file or flag measures; decides which units are accepted.
enum class Dimension {
  bytes,             ///< B, kB, MB, GB, TB, KiB, MiB, GiB, TiB
  bytes_per_second,  ///< any of the above with "/s"; bit rates bps, kbps, Mbps, Gbps, Tbps
  flop_per_second,   ///< FLOP/s with prefix: GFLOP/s, TFLOP/s, PFLOP/s
  seconds,           ///< ns, us, ms, s, min, h, d
  watts,             ///< W, kW
  money,             ///< USD, EUR, JPY; see parse_money
  ratio,             ///< a bare number, or "35%"
};

/// Reads "80GiB", "400 Gbps", "2.5us". The result is in bytes, bytes/s, FLOP/s, seconds, watts.
/// `where` names file and key for the message. A bare number is refused (ratio excepted) with the
/// units that would do; so are NaN, infinities and negative amounts.
Expected<double> parse_quantity(std::string_view text, Dimension dimension, std::string_view where);

enum class Currency : std::uint8_t { usd, eur, jpy };

/// "USD".
std::string_view to_string(Currency currency);

/// An amount in the currency in which it was written: nothing is ever converted.
struct Money {
  double amount = 0;
  Currency currency = Currency::usd;

  bool operator==(const Money&) const = default;
};

/// Reads "2.10USD" like parse_quantity.
Expected<Money> parse_money(std::string_view text, std::string_view where);

/// "12,345".
std::string grouped(std::int64_t number);
/// "79.3 GiB", "512 MiB".
std::string format_bytes(double bytes);
/// "26.5 s", "3.20 ms", "4.1 us", "2 d 3 h".
std::string format_seconds(double seconds);
/// "312 TFLOP/s".
std::string format_flop_per_second(double rate);
/// "300 GB/s".
std::string format_bytes_per_second(double rate);

}  // namespace kumihimo
