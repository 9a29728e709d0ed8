#include "data/llm_c_file.hpp"

#include <cstring>
#include <fmt/format.h>

#include "base/units.hpp"

namespace kumihimo {
namespace {

constexpr std::int32_t magic_uint16 = 20240520;
constexpr std::int32_t magic_uint32 = 20240801;
constexpr std::int32_t supported_version = 1;
constexpr std::int64_t header_bytes = 256 * sizeof(std::int32_t);

/// Number `index` of the header; the file must be that long.
std::int32_t header_field(std::string_view file, std::size_t index) {
  std::int32_t value;
  std::memcpy(&value, file.data() + index * sizeof value, sizeof value);
  return value;
}

}  // namespace

bool is_llm_c_file(std::string_view file) {
  if (file.size() < sizeof(std::int32_t)) return false;
  const std::int32_t magic = header_field(file, 0);
  return magic == magic_uint16 || magic == magic_uint32;
}

Expected<StoredTokens> parse_llm_c_file(std::string_view file, std::string_view where) {
  const auto fault = [&](std::string what, std::string fix) {
    return Error{std::string(where), std::move(what), std::move(fix)};
  };
  const auto length = static_cast<std::int64_t>(file.size());
  if (file.size() >= sizeof(std::int32_t) && !is_llm_c_file(file)) {
    return fault(
        fmt::format("begins with {}, not with the magic number {} (uint16 tokens) or {} "
                    "(uint32 tokens) of llm.c",
                    header_field(file, 0), magic_uint16, magic_uint32),
        "give a token file of llm.c, put the .idx file of Megatron-LM beside it, or rename "
        "it to .txt if it is text");
  }
  if (length < header_bytes) {
    return fault(
        fmt::format("is {} bytes long, shorter than the header of {} bytes of a token file "
                    "of llm.c",
                    grouped(length), grouped(header_bytes)),
        "copy or tokenize it again");
  }
  if (const std::int32_t version = header_field(file, 1); version != supported_version) {
    return fault(
        fmt::format("is of version {} of llm.c's token files", version),
        fmt::format("tokenize again with a script that writes version {}", supported_version));
  }
  StoredTokens stored;
  stored.type = header_field(file, 0) == magic_uint16 ? StoredType::uint16 : StoredType::uint32;
  stored.extents = {{0, header_bytes}};
  stored.tokens = header_field(file, 2);
  if (stored.tokens <= 0) {
    return fault(fmt::format("states {} tokens", grouped(stored.tokens)),
                 "give a file with tokens; one of 2^31 tokens or more must be split");
  }
  const std::int64_t expected = header_bytes + stored.tokens * width_of(stored.type);
  if (length != expected) {
    return fault(fmt::format("states {} tokens of {}, so it should be {} bytes long, but it has {}",
                             grouped(stored.tokens), name_of(stored.type), grouped(expected),
                             grouped(length)),
                 length < expected ? "it is cut off: copy or tokenize it again"
                                   : "copy or tokenize it again");
  }
  return stored;
}

}  // namespace kumihimo
