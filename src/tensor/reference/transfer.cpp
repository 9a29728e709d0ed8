#include <cstring>

#include "base/check.hpp"
#include "tensor/reference/reference_kernels.hpp"

namespace kumihimo {
namespace reference {

void ReferenceKernels::upload(const void* host, const Matrix& out) {
  KUMIHIMO_CHECK(out.contiguous());
  if (out.bytes() > 0) std::memcpy(out.data, host, static_cast<std::size_t>(out.bytes()));
}

void ReferenceKernels::download(const Matrix& in, void* host) {
  KUMIHIMO_CHECK(in.contiguous());
  if (in.bytes() > 0) std::memcpy(host, in.data, static_cast<std::size_t>(in.bytes()));
}

}  // namespace reference

std::unique_ptr<Kernels> make_reference_kernels(Workspace& workspace) {
  return std::make_unique<reference::ReferenceKernels>(workspace);
}

}  // namespace kumihimo
