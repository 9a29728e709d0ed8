#include "tensor/gpu_attention.hpp"

#include <fmt/format.h>

namespace kumihimo {

std::string why_no_flash_attention(const GpuFacts& gpu, bool library, DType dtype,
                                   std::int64_t seq_length, std::int64_t head_dim) {
  const std::int64_t own = gpu.largest_flash_head(dtype);
  if (head_dim <= own) return "";
  if (library && suits_library_attention(dtype, seq_length, head_dim)) return "";
  return fmt::format("flash attention on {} takes {} heads of up to {} elements, not {}", gpu.name,
                     to_string(dtype), own, head_dim);
}

}  // namespace kumihimo
