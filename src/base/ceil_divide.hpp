#pragma once

#include <cstdint>

namespace kumihimo {

/// The least integer that is not below a / b. Requires a >= 0 and b >= 1.
constexpr std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace kumihimo
