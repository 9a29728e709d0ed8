#include "tensor/cpu/team.hpp"

#include <utility>

namespace kumihimo::cpu {
namespace {

/// Some ten microseconds: longer than what a rank does alone between most loops of a layer.
constexpr int watched_times = 4000;

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

/// Returns once `value` is not `old` any more; what was written before that change is seen.
void wait_while(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  for (int i = 0; i < watched_times; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

Helpers::Helpers(int threads) {
  threads_.reserve(static_cast<std::size_t>(threads));
  for (int i = 1; i <= threads; ++i) threads_.emplace_back([this, i] { help(i); });
}

Helpers::~Helpers() {
  stop_ = true;
  ++loops_;
  loops_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Helpers::share(std::int64_t pieces, const std::function<void(std::int64_t, int)>& body) {
  KUMIHIMO_CHECK(body_ == nullptr);  // loops of a team do not nest
  pieces_ = pieces;
  body_ = &body;
  next_piece_.store(0, std::memory_order_relaxed);
  busy_.store(static_cast<std::uint32_t>(threads_.size()), std::memory_order_relaxed);
  loops_.fetch_add(1, std::memory_order_release);
  loops_.notify_all();
  take_pieces(0);
  while (const std::uint32_t busy = busy_.load(std::memory_order_acquire)) wait_while(busy_, busy);
  body_ = nullptr;
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Helpers::help(int thread) {
  omp_set_num_threads(1);
  for (std::uint32_t seen = 0;; ++seen) {
    wait_while(loops_, seen);
    if (stop_) return;
    take_pieces(thread);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
  }
}

void Helpers::take_pieces(int thread) noexcept {
  for (std::int64_t piece = 0;
       (piece = next_piece_.fetch_add(1, std::memory_order_relaxed)) < pieces_;) {
    try {
      (*body_)(piece, thread);
    } catch (...) {
      const std::lock_guard lock(failure_mutex_);
      failure_ = std::current_exception();
    }
  }
}

}  // namespace kumihimo::cpu
