#include "tensor/cpu/cpu_kernels.hpp"

#include <cstring>
#include <fmt/format.h>

#include "base/check.hpp"
#include "tensor/cpu/elements.hpp"
#include "tensor/fp8_cast.hpp"

namespace kumihimo {
namespace cpu {

CpuKernels::CpuKernels(Workspace& workspace, int threads)
    : workspace_(workspace), team_(threads), products_(workspace, team_) {}

std::string CpuKernels::description() const {
  const dnnl::version_t* version = dnnl::version();
  return fmt::format("cpu: oneDNN {}.{}.{}, {}, bf16 products in {}", version->major,
                     version->minor, version->patch, instruction_set(),
                     multiplies_bf16_in_hardware() ? "hardware" : "fp32");
}

void CpuKernels::upload(const void* host, const Matrix& out) {
  KUMIHIMO_CHECK(out.contiguous());
  if (out.bytes() > 0) std::memcpy(out.data, host, static_cast<std::size_t>(out.bytes()));
}

void CpuKernels::download(const Matrix& in, void* host) {
  KUMIHIMO_CHECK(in.contiguous());
  if (in.bytes() > 0) std::memcpy(host, in.data, static_cast<std::size_t>(in.bytes()));
}

void CpuKernels::matmul(const Matrix& a, Transpose transpose_a, const Matrix& b,
                        Transpose transpose_b, const Matrix& c, Accumulate accumulate,
                        const ProductEpilogue& epilogue) {
  check_bias(epilogue, c, accumulate);
  products_.multiply(a, transpose_a, b, transpose_b, c, accumulate, factor_of(epilogue));
  if (!epilogue.bias.empty()) add_bias(c, epilogue.bias);
}

}  // namespace cpu

Expected<std::unique_ptr<Kernels>> make_cpu_kernels(Workspace& workspace, int threads) {
  return std::unique_ptr<Kernels>(std::make_unique<cpu::CpuKernels>(workspace, threads));
}

}  // namespace kumihimo
