#pragma once

#include <array>

#include "support/matrices.hpp"
#include "tensor/kernels.hpp"

namespace kumihimo::testing {

/// What a cast reads and writes beside its elements, in the host's memory. Nothing seen so far.
struct CastMemory {
  explicit CastMemory(double scale = 1) : scales{{scale, 1 / scale}} {}

  Fp8Cast cast() const { return {scales, maximum, counts}; }
  /// Elements, overflowed, underflowed.
  std::array<double, 3> seen() const { return {counts.at(0, 0), counts.at(0, 1), counts.at(0, 2)}; }

  HostMatrix scales;
  HostMatrix maximum{1, 1};
  HostMatrix counts{1, 3, DType::fp64};
};

}  // namespace kumihimo::testing
