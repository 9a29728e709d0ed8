// The conformance suite as a job of processes that find each other over TCP: started once for each
// rank with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set (check_tcp.py).
// "test_comm_tcp fail" is a job in which rank 1 throws: it ends with exit code 7. "test_comm_tcp
// die" one in which rank 1 vanishes.

#include <cstdio>
#include <string_view>
#include <unistd.h>

#include "comm/tcp/rendezvous.hpp"
#include "distributed/comm_job.hpp"
#include "unit/comm/sample.hpp"

namespace kumihimo {
namespace {

void knows_its_launcher(World& world) {
  expect(names_a_tcp_job(process_environment()), "to know that a launcher has started it");
  expect(world.backend() == "tcp" && !world.emulated(), "the tcp back end");
}

void run_tcp_checks(World& world) {
  run_all_checks(world, {"KnowsItsLauncher", knows_its_launcher});
}

/// As when the system kills a process, or its machine is switched off.
void die_on_rank_1(World& world) {
  const auto group = world.make_group(all_ranks(world));
  group->barrier();
  if (world.rank() == 1) _exit(9);
  group->barrier();
}

RankBody body_of(std::string_view what) {
  return what == "fail" ? fail_on_rank_1 : what == "die" ? die_on_rank_1 : run_tcp_checks;
}

int main_of_rank(std::string_view what) {
  const auto place = read_tcp_place(process_environment());
  if (!place) {
    std::fputs(to_string(place.errors()).c_str(), stderr);
    return 2;
  }
  try {
    return run_tcp(*place, std::chrono::seconds(what == "alone" ? 1 : 60), body_of(what),
                   [](const std::exception& error) {
                     if (dynamic_cast<const PeerFailure*>(&error) != nullptr) {
                       std::fprintf(stderr, "learned: %s\n", error.what());
                     }
                     return 7;
                   });
  } catch (const RendezvousFailure& failure) {
    std::fprintf(stderr, "%s\n", failure.what());
    return 4;
  }
}

}  // namespace
}  // namespace kumihimo

int main(int argc, char** argv) { return kumihimo::main_of_rank(argc > 1 ? argv[1] : ""); }
