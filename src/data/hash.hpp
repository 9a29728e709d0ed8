#pragma once

#include <cstdint>

namespace kumihimo {

/// A bijection of 64-bit numbers in which every bit of the input changes half of the output's: the
/// finalizer of SplitMix64 (Steele, Lea, Flood 2014, with the constants of Stafford's variant 13).
constexpr std::uint64_t mix_bits(std::uint64_t bits) {
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  return bits ^ (bits >> 31);
}

/// A hash of two numbers that differs for (a, b) and (b, a).
constexpr std::uint64_t hash_pair(std::uint64_t a, std::uint64_t b) {
  return mix_bits(mix_bits(a + 0x9e3779b97f4a7c15) + b);
}

}  // namespace kumihimo
