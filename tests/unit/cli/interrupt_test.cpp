#include "cli/interrupt.hpp"

#include <chrono>
#include <gtest/gtest.h>
#include <unistd.h>

namespace kumihimo {
namespace {

TEST(InterruptGuard, TurnsCtrlCIntoAStopRequest) {
  const InterruptGuard guard;
  EXPECT_FALSE(guard.interrupted());
  ASSERT_EQ(kill(getpid(), SIGINT), 0);
  for (int look = 0; look < 500 && !guard.interrupted(); ++look) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(guard.interrupted());
  EXPECT_TRUE(guard.token().stop_requested());
}

TEST(InterruptGuard, RestoresTheSignalMask) {
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  { const InterruptGuard guard; }
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(sigismember(&before, SIGINT), sigismember(&after, SIGINT));
}

}  // namespace
}  // namespace kumihimo
