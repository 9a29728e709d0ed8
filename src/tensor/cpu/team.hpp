#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <omp.h>

#include "base/check.hpp"
#include "tensor/matrix.hpp"

namespace kumihimo::cpu {

/// The threads of one rank. With one thread no OpenMP team is ever made, so ranks that are threads
/// themselves stay independent of each other.
///
/// Work is cut in one of two ways. Where every element is computed by itself, it does not matter
/// where the cuts lie. Sums over pieces must not change with the number of threads: there the
/// caller chooses pieces from the shape alone, and adds them up in their order.
class Team {
 public:
  explicit Team(int threads) : threads_(threads) { KUMIHIMO_CHECK(threads >= 1); }

  int threads() const { return threads_; }

  /// body(piece, thread) for every piece, on any thread, in any order. Throws what one of them
  /// threw.
  template <class Body>
  void for_each(std::int64_t pieces, const Body& body) const {
    if (threads_ == 1 || pieces <= 1) {
      for (std::int64_t piece = 0; piece < pieces; ++piece) body(piece, 0);
      return;
    }
    std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads_)
    for (std::int64_t piece = 0; piece < pieces; ++piece) {
      try {
        body(piece, omp_get_thread_num());
      } catch (...) {
#pragma omp critical(kumihimo_team_failure)
        failure = std::current_exception();
      }
    }
    if (failure) std::rethrow_exception(failure);
  }

  /// body(first, count) for ranges that cover `items` of `cost` elements each. `unit`: ranges start
  /// at multiples of it.
  template <class Body>
  void for_ranges(std::int64_t items, std::int64_t cost, std::int64_t unit,
                  const Body& body) const {
    if (items == 0) return;
    const std::int64_t most = std::max<std::int64_t>(1, items * cost / smallest_range);
    const std::int64_t wanted = threads_ == 1 ? 1 : std::min<std::int64_t>(most, threads_ * 4);
    const std::int64_t units = (items + unit - 1) / unit;
    const std::int64_t size = (units + wanted - 1) / wanted * unit;
    for_each((items + size - 1) / size, [&](std::int64_t piece, int) {
      const std::int64_t first = piece * size;
      body(first, std::min(size, items - first));
    });
  }

  /// body(views...) on the same rows of each matrix; those that are empty stay so.
  template <class Body, class... Matrices>
  void for_rows(const Body& body, const Matrix& like, const Matrices&... others) const {
    for_ranges(like.rows, like.cols, 1, [&](std::int64_t first, std::int64_t count) {
      body(rows_or_empty(like, first, count), rows_or_empty(others, first, count)...);
    });
  }

  /// body(views...) on the same elements of matrices of one shape; those that are empty stay so.
  template <class Body, class... Matrices>
  void for_elements(const Body& body, const Matrix& like, const Matrices&... others) const {
    if (!like.contiguous() || !(others.contiguous() && ...)) {
      for_rows(body, like, others...);
      return;
    }
    const auto part = [&](const Matrix& matrix, std::int64_t first, std::int64_t count) {
      return matrix.empty() ? matrix
                            : cols_of(reshaped(matrix, 1, matrix.elements()), first, count);
    };
    for_ranges(like.elements(), 1, 64, [&](std::int64_t first, std::int64_t count) {
      body(part(like, first, count), part(others, first, count)...);
    });
  }

 private:
  /// In elements: some microseconds of work, below which waking a thread does not pay.
  static constexpr std::int64_t smallest_range = 16 * 1024;

  static Matrix rows_or_empty(const Matrix& matrix, std::int64_t first, std::int64_t count) {
    return matrix.empty() ? matrix : rows_of(matrix, first, count);
  }

  int threads_;
};

/// While it lives, libraries that have OpenMP loops of their own keep to the calling thread. Inside
/// the loops of a Team they do anyway.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

}  // namespace kumihimo::cpu
