#pragma once

#include <cuda_runtime_api.h>
#include <source_location>
#include <stdexcept>
#include <string_view>

namespace kumihimo::cuda {

/// A CUDA library has refused: what() says which call of which file, and why.
class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

[[noreturn]] void fail(std::string_view library, std::string_view reason,
                       std::source_location where);

/// Throws std::bad_alloc where the GPU's memory is full, CudaError for any other fault. Kernels run
/// later than they are given, so a fault may be that of an earlier call.
void check(cudaError_t result, std::source_location where = std::source_location::current());

/// Makes a GPU the calling thread's: streams and kernels need theirs to be.
inline void use_device(int ordinal, std::source_location where = std::source_location::current()) {
  check(cudaSetDevice(ordinal), where);
}

}  // namespace kumihimo::cuda
