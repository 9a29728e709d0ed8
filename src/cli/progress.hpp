#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "cli/terminal.hpp"

namespace kumihimo {

/// A progress bar with the time left, on stderr: only on a terminal, and only once the work has
/// taken a second. The line is wiped when the bar goes.
class ProgressBar {
 public:
  ProgressBar(std::string label, const Terminal& terminal);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// Any thread may call it, as often as it likes: it draws ten times a second at most.
  void update(std::int64_t done, std::int64_t total);

 private:
  using Clock = std::chrono::steady_clock;
  void draw(double share, Clock::duration elapsed);

  const std::string label_;
  const Terminal terminal_;
  const Clock::time_point start_;
  std::mutex mutex_;
  std::atomic<std::int64_t> next_draw_ns_;
  bool drawn_ = false;
};

/// The bar as one line of at most `width` columns: "searching  [#####.....]  50 %, 3.00 s left".
std::string progress_line(std::string_view label, double share, double elapsed_s, int width);

}  // namespace kumihimo
