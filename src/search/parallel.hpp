#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace kumihimo {

/// The threads asked for, or one for each core where that is 0.
inline int thread_count(int asked_for) {
  if (asked_for > 0) return asked_for;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// Calls work(worker, item) once for every item from 0 to items - 1, on `threads` threads numbered
/// by `worker`; which thread takes which item is not determined. The caller's thread is worker 0.
/// If a call throws, no further items are begun and the first exception is thrown here.
template <class Work>
void for_each_in_parallel(std::int64_t items, int threads, Work work) {
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto take_items = [&](int worker) {
    try {
      for (std::int64_t item = next++; item < items; item = next++) work(worker, item);
    } catch (...) {
      next = items;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    const std::int64_t wanted = std::min<std::int64_t>(threads, items);
    for (int worker = 1; worker < wanted; ++worker) others.emplace_back(take_items, worker);
    take_items(0);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace kumihimo
