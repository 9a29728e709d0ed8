#pragma once

#include <cstdint>
#include <string>

#include "tensor/gpu.hpp"

namespace kumihimo {

/// Whether the library's flash attention (cuDNN's) is asked for such heads; it may still have no
/// kernel for them.
inline bool suits_library_attention(DType dtype, std::int64_t seq_length, std::int64_t head_dim) {
  constexpr std::int64_t row_grain = 128, dim_grain = 8, most_dim = 128;
  return dtype == DType::bf16 && seq_length % row_grain == 0 && head_dim % dim_grain == 0 &&
         head_dim <= most_dim;
}

/// Why no flash attention of this GPU takes such heads: "NVIDIA L4 takes heads of ... "; empty
/// where one does. `library`: cuDNN's is there and wanted. Our own kernels take what their tiles in
/// shared memory take.
std::string why_no_flash_attention(const GpuFacts& gpu, bool library, DType dtype,
                                   std::int64_t seq_length, std::int64_t head_dim);

}  // namespace kumihimo
