// The conformance suite as a job of MPI ranks: mpirun -n 4 test_comm_mpi
// "test_comm_mpi fail" is a job in which rank 1 throws: it ends with exit code 7.

#include <cstdio>
#include <string_view>

#include "distributed/comm_job.hpp"
#include "unit/comm/sample.hpp"

namespace kumihimo {
namespace {

void knows_its_launcher(World& world) {
  expect(started_by_mpi(), "to know that a launcher has started it");
  const auto place = mpi_place();
  expect(place && place->rank == world.rank() && place->size == world.size(), "one place");
  expect(world.backend() == "mpi" && !world.emulated(), "the mpi back end");
}

void run_mpi_checks(World& world) {
  run_all_checks(world, {"KnowsItsLauncher", knows_its_launcher});
}

}  // namespace
}  // namespace kumihimo

int main(int argc, char** argv) {
  const bool fails = argc > 1 && std::string_view(argv[1]) == "fail";
  const auto done = kumihimo::run_mpi(fails ? kumihimo::fail_on_rank_1 : kumihimo::run_mpi_checks,
                                      [](const std::exception&) { return 7; });
  if (!done) std::fputs(kumihimo::to_string(done.errors()).c_str(), stderr);
  return done ? 0 : 2;
}
