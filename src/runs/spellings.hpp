#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/precision.hpp"
#include "model/kernels.hpp"

namespace kumihimo {

/// How published tables spell the values of a run's columns. Each function reads one cell that is
/// not blank; nothing means that the spelling is not known.

std::string lower_case(std::string_view text);
std::string_view trim(std::string_view text);

/// "bf16", "BF16", "amp_bf16", "FP8-CS", "fp8 rowwise", "e4m3". Plain "amp" is read as bf16.
std::optional<Precision> read_precision(std::string_view cell);

struct AttentionSpelling {
  AttentionKernel attention;
  std::optional<NormKernel> norm;  ///< where the cell states it: "flash_attention2 + RMS kernel"
};

/// "torch", "fused", "flash_attentionv1.0.8", "flash-attention2", "SDPA flash", with or without
/// "+ RMS kernel". The layout sweep's own names (torch, fused, flash_attention...) say "+ RMS
/// kernel" wherever the norm is fused, so without it they state an unfused one.
std::optional<AttentionSpelling> read_attention(std::string_view cell);

/// "none", "selective", "full".
std::optional<Recompute> read_recompute(std::string_view cell);

struct ZeroSpelling {
  int stage = 0;
  int group = 0;  ///< ranks that share the states; 0: all
};

/// "1", "3 (FSDP2)", "1 (shard group 8)", "1 (shard group all)".
std::optional<ZeroSpelling> read_zero_stage(std::string_view cell);

}  // namespace kumihimo
