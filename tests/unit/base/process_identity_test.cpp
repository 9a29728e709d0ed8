#include "base/process_identity.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace kumihimo {
namespace {

TEST(ProcessIdentity, ThisProcessLives) {
  EXPECT_EQ(this_process().pid, getpid());
  EXPECT_EQ(liveness(this_process()), Liveness::alive);
}

TEST(ProcessIdentity, ALaterProcessOfTheSameNumberIsAnother) {
  ProcessIdentity earlier = this_process();
  earlier.start_ticks -= 1;
  EXPECT_EQ(liveness(earlier), Liveness::dead);
}

TEST(ProcessIdentity, AProcessIsDeadFromItsEndOn) {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);  // it is not collected yet
  EXPECT_EQ(process_of(child).start_ticks, 0);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(process_of(child).start_ticks, 0);
}

TEST(ProcessIdentity, OfAnotherMachineNothingIsKnown) {
  ProcessIdentity far = this_process();
  far.host = "another-" + far.host;
  EXPECT_EQ(liveness(far), Liveness::elsewhere);
}

TEST(ProcessIdentity, BeforeTheLastStartOfTheSystemAllAreDead) {
  ProcessIdentity before = this_process();
  before.host = before.host.substr(0, before.host.find('/')) + "/another-boot";
  EXPECT_EQ(liveness(before), Liveness::dead);
}

}  // namespace
}  // namespace kumihimo
