// Whatever the parsers of token files accept can be read. The first byte chooses llm.c or
// Megatron-LM, the next two are the length of the latter's .bin file.
#include <algorithm>
#include <string>
#include <vector>

#include "data/llm_c_file.hpp"
#include "data/megatron_index.hpp"
#include "fuzz.hpp"

using namespace kumihimo;

namespace {

void read_all(std::string_view file, const StoredTokens& stored) {
  KUMIHIMO_CHECK(stored.tokens > 0);
  const auto outside = find_outside(file, stored, 0, stored.tokens, 1000);
  KUMIHIMO_CHECK(!outside || (outside->number >= 0 && outside->number < stored.tokens));
  std::vector<std::int32_t> tokens(
      static_cast<std::size_t>(std::min<std::int64_t>(stored.tokens, 4096)));
  copy_tokens(file, stored, 0, tokens);
  copy_tokens(file, stored, stored.tokens - std::ssize(tokens), tokens);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const std::string_view file = fuzz::as_text(data + 3, size - 3);
  if (data[0] % 2 == 0) {
    const Expected<StoredTokens> stored = parse_llm_c_file(file, "fuzz.bin");
    if (stored) {
      read_all(file, *stored);
    } else {
      fuzz::check_refusal(stored);
    }
    return 0;
  }
  const std::string bin(data[1] + std::size_t{256} * data[2], '\1');
  const Expected<MegatronIndex> index =
      parse_megatron_index(file, static_cast<std::int64_t>(bin.size()), "fuzz.idx");
  if (index) {
    read_all(bin, index->stored);
  } else {
    fuzz::check_refusal(index);
  }
  return 0;
}
