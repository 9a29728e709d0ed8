#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace kumihimo {

/// The integer that a file keeps a token in; little-endian, as all formats that we read are.
enum class StoredType { uint8, int8, uint16, int16, uint32, int32, int64 };

std::int64_t width_of(StoredType type);  ///< bytes
std::string_view name_of(StoredType type);

/// Tokens that follow one another in the file.
struct TokenExtent {
  std::int64_t first_token = 0;  ///< its number in the stream
  std::int64_t byte = 0;         ///< where it begins in the file
};

/// Where the tokens of a corpus lie in its file. An extent goes on to the next one, or to the end.
struct StoredTokens {
  StoredType type = StoredType::uint8;
  std::vector<TokenExtent> extents;  ///< by first_token, none empty
  std::int64_t tokens = 0;
};

/// Copies tokens first, first + 1, ... out of `file`. Requires first + out.size() <= stored.tokens.
void copy_tokens(std::string_view file, const StoredTokens& stored, std::int64_t first,
                 std::span<std::int32_t> out);

struct OutsideToken {
  std::int64_t number = 0;  ///< in the stream
  std::int64_t value = 0;
};

/// The first of `count` tokens from number `first` on that is negative or not below `vocab`.
std::optional<OutsideToken> find_outside(std::string_view file, const StoredTokens& stored,
                                         std::int64_t first, std::int64_t count,
                                         std::int64_t vocab);

}  // namespace kumihimo
