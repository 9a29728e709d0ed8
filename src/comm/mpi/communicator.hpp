#pragma once

#include <span>
#include <utility>

#include "comm/mpi/mpi_call.hpp"

namespace kumihimo {

/// Owns a communicator.
class Communicator {
 public:
  /// Of ranks of MPI_COMM_WORLD, called by them alone. `tag` tells groups apart that are made at
  /// the same time.
  Communicator(std::span<const int> ranks, int tag) {
    MPI_Group world = MPI_GROUP_NULL, members = MPI_GROUP_NULL;
    check_mpi(MPI_Comm_group(MPI_COMM_WORLD, &world), "MPI_Comm_group");
    check_mpi(MPI_Group_incl(world, static_cast<int>(ranks.size()), ranks.data(), &members),
              "MPI_Group_incl");
    check_mpi(MPI_Comm_create_group(MPI_COMM_WORLD, members, tag, &handle_),
              "MPI_Comm_create_group");
    MPI_Group_free(&members);
    MPI_Group_free(&world);
  }
  ~Communicator() {
    if (handle_ != MPI_COMM_NULL) MPI_Comm_free(&handle_);
  }
  Communicator(Communicator&& other) noexcept
      : handle_(std::exchange(other.handle_, MPI_COMM_NULL)) {}
  Communicator& operator=(Communicator&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  MPI_Comm handle() const { return handle_; }

 private:
  MPI_Comm handle_ = MPI_COMM_NULL;
};

}  // namespace kumihimo
