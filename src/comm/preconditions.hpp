#pragma once

#include <algorithm>
#include <span>

#include "comm/process_group.hpp"

// What callers of every back end must keep to (process_group.hpp, world.hpp).

namespace kumihimo {

/// The place of `rank` among `ranks`. Requires them to be ascending ranks of a job of `world_size`.
inline int place_among(std::span<const int> ranks, int rank, int world_size) {
  KUMIHIMO_CHECK(!ranks.empty() && ranks.front() >= 0 && ranks.back() < world_size);
  KUMIHIMO_CHECK(std::adjacent_find(ranks.begin(), ranks.end(), std::greater_equal<>()) ==
                 ranks.end());
  const auto found = std::lower_bound(ranks.begin(), ranks.end(), rank);
  KUMIHIMO_CHECK(found != ranks.end() && *found == rank);
  return static_cast<int>(found - ranks.begin());
}

inline void check_reducible(const Matrix& x) {
  KUMIHIMO_CHECK(x.contiguous());
  KUMIHIMO_CHECK(x.dtype != DType::fp8_e4m3 && x.dtype != DType::fp8_e5m2);
}

/// `part` is one of `size` equal pieces of `whole`.
inline void check_part(const Matrix& part, const Matrix& whole, int size) {
  KUMIHIMO_CHECK(part.contiguous() && whole.contiguous());
  KUMIHIMO_CHECK(part.dtype == whole.dtype);
  KUMIHIMO_CHECK(part.cols == whole.cols && part.rows * size == whole.rows);
}

inline void check_peer(const Matrix& x, int peer, int rank, int size) {
  KUMIHIMO_CHECK(x.contiguous());
  KUMIHIMO_CHECK(peer >= 0 && peer < size && peer != rank);
}

}  // namespace kumihimo
