#include "cli/interrupt.hpp"

#include <chrono>
#include <gtest/gtest.h>
#include <unistd.h>

namespace kumihimo {
namespace {

void wait_for_stop(const InterruptGuard& guard) {
  for (int look = 0; look < 500 && !guard.interrupted(); ++look) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

class InterruptSignal : public ::testing::TestWithParam<int> {};

TEST_P(InterruptSignal, BecomesAStopRequest) {
  const InterruptGuard guard;
  EXPECT_FALSE(guard.interrupted());
  ASSERT_EQ(kill(getpid(), GetParam()), 0);
  wait_for_stop(guard);
  EXPECT_TRUE(guard.interrupted());
  EXPECT_TRUE(guard.token().stop_requested());
}

TEST_P(InterruptSignal, IsUnblockedAgainAfterwards) {
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  { const InterruptGuard guard; }
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(sigismember(&before, GetParam()), sigismember(&after, GetParam()));
}

/// What nohup does for SIGHUP, and a shell's script for SIGINT of its background jobs.
TEST_P(InterruptSignal, StaysIgnoredIfItWas) {
  const auto before = signal(GetParam(), SIG_IGN);
  {
    const InterruptGuard guard;
    ASSERT_EQ(kill(getpid(), GetParam()), 0);
    // One that is not ignored, sent later, is heard; the ignored one would have ended the program
    // as the first of two.
    const int heard = GetParam() == SIGTERM ? SIGINT : SIGTERM;
    ASSERT_EQ(kill(getpid(), heard), 0);
    wait_for_stop(guard);
    EXPECT_TRUE(guard.interrupted());
  }
  signal(GetParam(), before);
}

INSTANTIATE_TEST_SUITE_P(Signals, InterruptSignal, ::testing::Values(SIGINT, SIGTERM, SIGHUP));

}  // namespace
}  // namespace kumihimo
