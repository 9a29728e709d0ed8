#include "data/data_identity.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>

#include "data/hash.hpp"

namespace kumihimo {

std::string data_identity(const TokenSource& tokens) {
  constexpr std::int64_t most_samples = 256;
  std::array<std::int32_t, 64> read{};
  const std::int64_t length = std::min<std::int64_t>(std::ssize(read), tokens.tokens());
  const std::int64_t last = tokens.tokens() - length;  // where the last sample begins
  const std::int64_t samples = std::clamp<std::int64_t>(tokens.tokens() / length, 1, most_samples);
  std::uint64_t hash = 0;
  for (std::int64_t i = 0; i < samples; ++i) {
    const std::int64_t first = samples == 1 ? 0 : last / (samples - 1) * i;
    const auto sample = std::span(read).first(static_cast<std::size_t>(length));
    tokens.read(i == samples - 1 ? last : first, sample);
    for (const std::int32_t token : sample) {
      hash = hash_pair(hash, static_cast<std::uint64_t>(token));
    }
  }
  return fmt::format("{}, sampled hash {:016x}", tokens.description(), hash);
}

}  // namespace kumihimo
