#include "cli/progress.hpp"

#include <algorithm>
#include <fmt/format.h>

#include "base/units.hpp"
#include "cli/table.hpp"

namespace kumihimo {
namespace {

constexpr std::chrono::seconds quiet_at_first{1};
constexpr std::chrono::milliseconds between_draws{100};

std::int64_t nanoseconds(std::chrono::nanoseconds duration) { return duration.count(); }

}  // namespace

ProgressBar::ProgressBar(std::string label, const Terminal& terminal)
    : label_(std::move(label)),
      terminal_(terminal),
      start_(Clock::now()),
      next_draw_ns_(nanoseconds(quiet_at_first)) {}

ProgressBar::~ProgressBar() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

void ProgressBar::update(std::int64_t done, std::int64_t total) {
  if (!terminal_.progress || total <= 0) return;
  const Clock::duration elapsed = Clock::now() - start_;
  std::int64_t due = next_draw_ns_.load();
  if (nanoseconds(elapsed) < due) return;
  // One thread wins the right to draw; the others go on.
  if (!next_draw_ns_.compare_exchange_strong(due, nanoseconds(elapsed + between_draws))) return;
  draw(static_cast<double>(done) / static_cast<double>(total), elapsed);
}

void ProgressBar::draw(double share, Clock::duration elapsed) {
  const std::lock_guard lock(mutex_);
  const double elapsed_s = std::chrono::duration<double>(elapsed).count();
  const std::string line =
      "\r" + progress_line(label_, share, elapsed_s, terminal_.width) + "\x1b[K";
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
  drawn_ = true;
}

std::string progress_line(std::string_view label, double share, double elapsed_s, int width) {
  const double part = std::clamp(share, 0.0, 1.0);
  std::string tail = fmt::format("{:3.0f} %", 100 * part);
  if (part > 0) {
    tail += fmt::format(", {} left", format_seconds(elapsed_s / part - elapsed_s));
  }
  const int room = width - display_width(label) - 24 - 6;
  if (room < 5) return padded(tail, 0);
  const int cells = std::min(room, 40);
  const int full = static_cast<int>(part * cells);
  std::string bar;
  for (int i = 0; i < cells; ++i) bar += i < full ? "█" : "░";
  return fmt::format("{}  {}  {}", label, bar, tail);
}

}  // namespace kumihimo
