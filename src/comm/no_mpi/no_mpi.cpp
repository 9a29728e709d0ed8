#include "comm/world.hpp"

namespace kumihimo {
namespace {

Error without_mpi() {
  return {"MPI", "this program was built without it",
          "install OpenMPI's development package and build again"};
}

}  // namespace

bool started_by_mpi() { return false; }

Expected<MpiPlace> mpi_place() { return without_mpi(); }

Expected<bool> run_mpi(const RankBody& /*body*/,
                       const std::function<int(const std::exception&)>& /*exit_code_of*/) {
  return without_mpi();
}

}  // namespace kumihimo
