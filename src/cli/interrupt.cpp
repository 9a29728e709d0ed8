#include "cli/interrupt.hpp"

#include <cstdlib>
#include <ctime>
#include <unistd.h>

#include "cli/exit_code.hpp"

namespace kumihimo {
namespace {

constexpr timespec between_looks{0, 50'000'000};

/// Ctrl-C, a polite end, a terminal that is gone; but not what whoever started the program had it
/// ignore, as nohup does: a blocked signal would arrive here all the same.
sigset_t requests_to_end() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction disposition {};
    sigaction(signal, nullptr, &disposition);
    if (disposition.sa_handler != SIG_IGN) sigaddset(&signals, signal);
  }
  return signals;
}

/// A thread of its own waits for a signal: a handler may not touch a stop_source.
void watch(const std::stop_token& end_of_guard, std::stop_source& work) {
  const sigset_t signals = requests_to_end();
  while (!end_of_guard.stop_requested()) {
    if (sigtimedwait(&signals, nullptr, &between_looks) < 0) continue;
    if (work.stop_requested()) _exit(static_cast<int>(ExitCode::interrupted));
    work.request_stop();
  }
}

}  // namespace

InterruptGuard::InterruptGuard() {
  const sigset_t signals = requests_to_end();
  pthread_sigmask(SIG_BLOCK, &signals, &before_);
  watcher_ = std::jthread([this](const std::stop_token& end) { watch(end, source_); });
}

InterruptGuard::~InterruptGuard() {
  watcher_.request_stop();
  watcher_.join();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace kumihimo
