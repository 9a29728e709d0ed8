#pragma once

#include <cstdint>
#include <string_view>

namespace kumihimo {

/// XXH3, 64 bits, seed 0. Of files: checksum_of in state_folder.hpp.
/// Source: https://github.com/Cyan4973/xxHash
std::uint64_t checksum_of_text(std::string_view text);

}  // namespace kumihimo
