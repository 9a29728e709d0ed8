#include "tensor/cuda/cuda_call.hpp"

#include <fmt/format.h>
#include <new>

namespace kumihimo::cuda {

void fail(std::string_view library, std::string_view reason, std::source_location where) {
  std::string_view file = where.file_name();
  file.remove_prefix(std::min(file.size(), file.rfind('/') + 1));
  throw CudaError(fmt::format("{}: {} (at {}:{})", library, reason, file, where.line()));
}

void check(cudaError_t result, std::source_location where) {
  if (result == cudaSuccess) return;
  // An error that is not sticky would be reported again by the next call.
  if (cudaGetLastError() != result) static_cast<void>(cudaGetLastError());
  if (result == cudaErrorMemoryAllocation) throw std::bad_alloc();
  fail("CUDA", fmt::format("{} ({})", cudaGetErrorString(result), cudaGetErrorName(result)), where);
}

}  // namespace kumihimo::cuda
