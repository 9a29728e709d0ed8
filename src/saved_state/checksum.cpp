#include "saved_state/checksum.hpp"

#include <algorithm>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "saved_state/safetensors.hpp"
#include "saved_state/state_folder.hpp"

namespace kumihimo {

std::uint64_t checksum_of_text(std::string_view text) {
  return XXH3_64bits(text.data(), text.size());
}

std::uint64_t checksum_of(const std::filesystem::path& path) {
  constexpr std::int64_t piece = 1 << 20;
  const SliceFile file(path, SliceFile::Mode::read);
  const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(path));
  std::vector<char> buffer(static_cast<std::size_t>(std::min(bytes, piece)));
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (std::int64_t offset = 0; offset < bytes; offset += piece) {
    const std::int64_t count = std::min(piece, bytes - offset);
    file.read(offset, buffer.data(), count);
    XXH3_64bits_update(&state, buffer.data(), static_cast<std::size_t>(count));
  }
  return XXH3_64bits_digest(&state);
}

}  // namespace kumihimo
