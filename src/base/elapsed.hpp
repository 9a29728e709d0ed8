#pragma once

#include <chrono>

namespace kumihimo {

/// A clock that nobody sets back.
using SteadyClock = std::chrono::steady_clock;

inline double seconds_since(SteadyClock::time_point begin) {
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

}  // namespace kumihimo
