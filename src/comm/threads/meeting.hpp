#pragma once

#include <atomic>
#include <cstdint>

namespace kumihimo {

/// A barrier that can be broken: all members pass a round, or none does. Waiting members sleep
/// after a short spin (that of std::atomic::wait), so that there may be more ranks than cores.
class Meeting {
 public:
  explicit Meeting(int members) : members_(static_cast<std::uint32_t>(members)) {}

  /// Returns true when all members have come; false once it is broken.
  bool arrive_and_wait() {
    std::uint32_t state = state_.load(std::memory_order_acquire);
    while (true) {
      if (state & broken) return false;
      const bool last = (state & arrived_mask) + 1 == members_;
      const std::uint32_t next = last ? (state & round_mask) + one_round : state + 1;
      if (state_.compare_exchange_weak(state, next, std::memory_order_acq_rel)) {
        if (last) {
          state_.notify_all();
          return true;
        }
        break;
      }
    }
    const std::uint32_t round = state & round_mask;
    while (true) {
      state = state_.load(std::memory_order_acquire);
      // A round that was completed counts, even if it was broken right after.
      if ((state & round_mask) != round) return true;
      if (state & broken) return false;
      state_.wait(state, std::memory_order_acquire);
    }
  }

  /// Wakes who is waiting. No later round is completed.
  void break_up() {
    state_.fetch_or(broken, std::memory_order_acq_rel);
    state_.notify_all();
  }

  static constexpr int most_members = 0x7fff;

 private:
  // One word, so that completing a round and breaking it exclude one another.
  static constexpr std::uint32_t arrived_mask = 0x7fff;
  static constexpr std::uint32_t broken = 0x8000;
  static constexpr std::uint32_t one_round = 0x10000;
  static constexpr std::uint32_t round_mask = 0xffff0000;

  const std::uint32_t members_;
  std::atomic<std::uint32_t> state_{0};
};

}  // namespace kumihimo
