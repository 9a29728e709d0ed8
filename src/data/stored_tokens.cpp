#include "data/stored_tokens.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/check.hpp"

namespace kumihimo {
namespace {

static_assert(std::endian::native == std::endian::little, "files are read as they lie in memory");

/// Calls `visitor` with a value of the C++ type that `type` stands for.
template <class Visitor>
auto with_type(StoredType type, Visitor visitor) {
  switch (type) {
    case StoredType::uint8: return visitor(std::uint8_t{});
    case StoredType::int8: return visitor(std::int8_t{});
    case StoredType::uint16: return visitor(std::uint16_t{});
    case StoredType::int16: return visitor(std::int16_t{});
    case StoredType::uint32: return visitor(std::uint32_t{});
    case StoredType::int32: return visitor(std::int32_t{});
    case StoredType::int64: return visitor(std::int64_t{});
  }
  KUMIHIMO_CHECK(false);
}

template <class Stored>
Stored load(const char* from) {
  Stored value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/// Calls `visit(bytes, number, count)` for every piece of `count` tokens from `first` on that lies
/// in one extent, until it returns false.
template <class Visitor>
void for_each_piece(std::string_view file, const StoredTokens& stored, std::int64_t first,
                    std::int64_t count, Visitor visit) {
  KUMIHIMO_CHECK(first >= 0 && count >= 0 && count <= stored.tokens - first);
  const std::int64_t width = width_of(stored.type);
  auto extent = std::upper_bound(stored.extents.begin(), stored.extents.end(), first,
                                 [](std::int64_t token, const TokenExtent& candidate) {
                                   return token < candidate.first_token;
                                 });
  while (count > 0) {
    const std::int64_t end = extent == stored.extents.end() ? stored.tokens : extent->first_token;
    const TokenExtent& current = *(extent - 1);
    const std::int64_t piece = std::min(count, end - first);
    const std::int64_t byte = current.byte + (first - current.first_token) * width;
    KUMIHIMO_CHECK(byte + piece * width <= static_cast<std::int64_t>(file.size()));
    if (!visit(file.data() + byte, first, piece)) return;
    first += piece;
    count -= piece;
    ++extent;
  }
}

/// Index of the first token at `bytes` that is outside [0, vocab), or `count`.
template <class Stored>
std::int64_t first_outside(const char* bytes, std::int64_t count, std::int64_t vocab) {
  // As unsigned, a negative token is larger than every positive one of its type: one comparison
  // finds both faults, and a vocabulary that the type cannot exceed needs none.
  using Unsigned = std::make_unsigned_t<Stored>;
  constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<Stored>::max());
  const auto limit = static_cast<std::uint64_t>(vocab);
  if (std::is_unsigned_v<Stored> && limit > largest) return count;
  const auto last_valid = static_cast<Unsigned>(std::min(limit - 1, largest));

  const auto token = [&](std::int64_t i) {
    return load<Unsigned>(bytes + i * std::int64_t{sizeof(Stored)});
  };
  // Blocks without an early end, so that the compiler can use vector instructions.
  constexpr std::int64_t block = 1024;
  std::int64_t begin = 0;
  for (; begin + block <= count; begin += block) {
    Unsigned greatest = 0;
    for (std::int64_t i = begin; i < begin + block; ++i) greatest = std::max(greatest, token(i));
    if (greatest > last_valid) break;
  }
  while (begin < count && token(begin) <= last_valid) ++begin;
  return begin;
}

}  // namespace

std::int64_t width_of(StoredType type) {
  return with_type(type, [](auto zero) -> std::int64_t { return sizeof zero; });
}

std::string_view name_of(StoredType type) {
  switch (type) {
    case StoredType::uint8: return "uint8";
    case StoredType::int8: return "int8";
    case StoredType::uint16: return "uint16";
    case StoredType::int16: return "int16";
    case StoredType::uint32: return "uint32";
    case StoredType::int32: return "int32";
    case StoredType::int64: return "int64";
  }
  KUMIHIMO_CHECK(false);
}

void copy_tokens(std::string_view file, const StoredTokens& stored, std::int64_t first,
                 std::span<std::int32_t> out) {
  with_type(stored.type, [&](auto zero) {
    using Stored = decltype(zero);
    for_each_piece(file, stored, first, std::ssize(out),
                   [&](const char* bytes, std::int64_t number, std::int64_t count) {
                     std::int32_t* const to = out.data() + (number - first);
                     for (std::int64_t i = 0; i < count; ++i) {
                       to[i] = static_cast<std::int32_t>(
                           load<Stored>(bytes + i * std::int64_t{sizeof(Stored)}));
                     }
                     return true;
                   });
  });
}

std::optional<OutsideToken> find_outside(std::string_view file, const StoredTokens& stored,
                                         std::int64_t first, std::int64_t count,
                                         std::int64_t vocab) {
  KUMIHIMO_CHECK(vocab > 0);
  return with_type(stored.type, [&](auto zero) {
    using Stored = decltype(zero);
    std::optional<OutsideToken> found;
    for_each_piece(file, stored, first, count,
                   [&](const char* bytes, std::int64_t number, std::int64_t piece) {
                     const std::int64_t at = first_outside<Stored>(bytes, piece, vocab);
                     if (at == piece) return true;
                     const auto value = load<Stored>(bytes + at * std::int64_t{sizeof(Stored)});
                     found = {number + at, static_cast<std::int64_t>(value)};
                     return false;
                   });
    return found;
  });
}

}  // namespace kumihimo
