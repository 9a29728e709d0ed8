#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kumihimo {

/// The bytes of numbers as they lie in memory, one after the other.
template <class Number>
std::string bytes_of(const std::vector<Number>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(Number)};
}

/// A token file of llm.c, whose header may lie.
template <class Token>
std::string llm_c_file(std::int32_t magic, std::int32_t version, std::int32_t tokens_stated,
                       const std::vector<Token>& tokens) {
  std::vector<std::int32_t> header(256, 0);
  header[0] = magic;
  header[1] = version;
  header[2] = tokens_stated;
  return bytes_of(header) + bytes_of(tokens);
}

/// An index of Megatron-LM, whose header may lie.
struct MegatronIndexText {
  std::string magic{"MMIDIDX\0\0", 9};
  std::uint64_t version = 1;
  std::uint8_t type = 8;  // uint16
  std::vector<std::int32_t> lengths;
  std::vector<std::int64_t> first_bytes;
  std::vector<std::int64_t> document_bounds;

  std::string bytes() const {
    return magic + bytes_of<std::uint64_t>({version}) + bytes_of<std::uint8_t>({type}) +
           bytes_of<std::uint64_t>({lengths.size(), document_bounds.size()}) + bytes_of(lengths) +
           bytes_of(first_bytes) + bytes_of(document_bounds);
  }
};

}  // namespace kumihimo
