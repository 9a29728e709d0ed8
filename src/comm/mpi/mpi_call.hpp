#pragma once

#include <mpi.h>
#include <stdexcept>
#include <string>

namespace kumihimo {

/// An MPI call has failed. what() is "MPI_Isend: " and MPI's own text.
class MpiError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws MpiError unless `result` is MPI_SUCCESS. `call` is the name of the function.
inline void check_mpi(int result, const char* call) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(result, text, &length);
  throw MpiError(std::string(call) + ": " + std::string(text, static_cast<std::size_t>(length)));
}

}  // namespace kumihimo
