#include "cli/interrupt.hpp"

#include <cstdlib>
#include <ctime>
#include <unistd.h>

#include "cli/exit_code.hpp"

namespace kumihimo {
namespace {

constexpr timespec between_looks{0, 50'000'000};

sigset_t ctrl_c() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  return signals;
}

/// A thread of its own waits for the signal: a handler may not touch a stop_source.
void watch(const std::stop_token& end_of_guard, std::stop_source& work) {
  const sigset_t signals = ctrl_c();
  while (!end_of_guard.stop_requested()) {
    if (sigtimedwait(&signals, nullptr, &between_looks) != SIGINT) continue;
    if (work.stop_requested()) _exit(static_cast<int>(ExitCode::interrupted));
    work.request_stop();
  }
}

}  // namespace

InterruptGuard::InterruptGuard() {
  const sigset_t signals = ctrl_c();
  pthread_sigmask(SIG_BLOCK, &signals, &before_);
  watcher_ = std::jthread([this](const std::stop_token& end) { watch(end, source_); });
}

InterruptGuard::~InterruptGuard() {
  watcher_.request_stop();
  watcher_.join();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace kumihimo
