#pragma once

#include <string>

#include "base/units.hpp"

namespace kumihimo {

/// "13.0 B", "4.19 M": three digits.
std::string short_count(double number);
/// "250 k USD".
std::string short_money(const Money& money);
/// A step time with four digits, in seconds or below: "63.12 s", "831.5 ms".
std::string step_text(double seconds);
/// Tokens per second and device: "2,537", "20.9".
std::string rate_text(double per_second);
/// "70.6 %" of 0.706.
std::string percent(double share);
/// "+1.5" of 0.015; "0.0" of what rounds to it, whatever its sign.
std::string signed_points(double share);
/// "+3.2 %", "-0.4 %".
std::string signed_percent(double share);

}  // namespace kumihimo
