#pragma once

#include <csignal>
#include <stop_token>
#include <thread>

namespace kumihimo {

/// While it lives, Ctrl-C (SIGINT), SIGTERM and SIGHUP request a stop instead of ending the
/// program; a second one ends it. Signals that were ignored before stay so. Make it before the
/// threads that do the work: they inherit the blocked signals.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  bool interrupted() const { return source_.stop_requested(); }

 private:
  std::stop_source source_;
  sigset_t before_;
  std::jthread watcher_;
};

}  // namespace kumihimo
