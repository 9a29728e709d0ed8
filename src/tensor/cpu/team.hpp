#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <omp.h>
#include <thread>
#include <vector>

#include "base/check.hpp"
#include "tensor/matrix.hpp"

namespace kumihimo::cpu {

/// Threads beside a rank's own, which wait for loops to share. They watch for the next loop for
/// some microseconds, then sleep: a thread that goes on spinning takes its core from whatever else
/// the machine runs, the rank's own thread included.
class Helpers {
 public:
  explicit Helpers(int threads);
  ~Helpers();
  Helpers(const Helpers&) = delete;
  Helpers& operator=(const Helpers&) = delete;

  /// body(piece, thread) for every piece, by the calling thread (0) and the helpers (1, 2, ...).
  /// Throws what one of them threw.
  void share(std::int64_t pieces, const std::function<void(std::int64_t, int)>& body);

 private:
  void help(int thread);
  void take_pieces(int thread) noexcept;

  std::vector<std::thread> threads_;
  std::atomic<std::uint32_t> loops_ = 0;  ///< begun so far; a change wakes the helpers
  std::atomic<std::uint32_t> busy_ = 0;   ///< helpers that have not finished the loop
  std::atomic<std::int64_t> next_piece_ = 0;
  std::atomic<bool> stop_ = false;
  std::int64_t pieces_ = 0;
  const std::function<void(std::int64_t, int)>* body_ = nullptr;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
};

/// The threads of one rank. With one thread there are no others, so ranks that are threads
/// themselves stay independent of each other.
///
/// Work is cut in one of two ways. Where every element is computed by itself, it does not matter
/// where the cuts lie. Sums over pieces must not change with the number of threads: there the
/// caller chooses pieces from the shape alone, and adds them up in their order.
class Team {
 public:
  explicit Team(int threads)
      : threads_(threads), helpers_(threads > 1 ? new Helpers(threads - 1) : nullptr) {
    KUMIHIMO_CHECK(threads >= 1);
  }

  int threads() const { return threads_; }

  /// body(piece, thread) for every piece, on any thread, in any order. Throws what one of them
  /// threw.
  template <class Body>
  void for_each(std::int64_t pieces, const Body& body) const {
    if (helpers_ == nullptr || pieces <= 1) {
      for (std::int64_t piece = 0; piece < pieces; ++piece) body(piece, 0);
      return;
    }
    helpers_->share(pieces, std::cref(body));
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
  std::unique_ptr<Helpers> helpers_;
};

/// While it lives, libraries that have OpenMP loops of their own keep to the calling thread.
/// Helpers always do.
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
