#pragma once

#include <cstdint>

namespace kumihimo {

/// What is computed again in the backward pass instead of being kept: nothing, the attention core,
/// or every layer from its input (Korthikanti et al. 2022, arXiv:2205.05198).
enum class Recompute : std::uint8_t { none, selective, full };

/// unfused: scores, mask, softmax and dropout as separate passes; fused_softmax: one pass over
/// materialised scores (Megatron); flash1/2/3: tiled, scores never stored (Dao et al. 2022, 2023,
/// Shah et al. 2024; 3 needs Hopper).
enum class AttentionKernel : std::uint8_t { unfused, fused_softmax, flash1, flash2, flash3 };

enum class NormKernel : std::uint8_t { unfused, fused };

constexpr bool is_flash(AttentionKernel kernel) { return kernel >= AttentionKernel::flash1; }

}  // namespace kumihimo
