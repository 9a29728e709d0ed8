#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <random>

namespace kumihimo {

/// Numbers of a standard normal distribution, the same on every platform for the same seed.
class NormalDraws {
 public:
  explicit NormalDraws(std::uint64_t seed) : numbers_(seed) {}

  double operator()() {
    // Box and Muller 1958; the library's own distribution differs between platforms.
    const auto uniform = [&] { return (static_cast<double>(numbers_() >> 11) + 0.5) * 0x1p-53; };
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  std::mt19937_64 numbers_;
};

}  // namespace kumihimo
