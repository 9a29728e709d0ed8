#pragma once

#include <string_view>

#include "base/error.hpp"
#include "data/stored_tokens.hpp"

namespace kumihimo {

/// Whether a file begins with one of the magic numbers below.
bool is_llm_c_file(std::string_view file);

/// Finds the tokens in a file of llm.c: a header of 256 int32 (magic, version 1, number of tokens,
/// zeros), then the tokens: uint16 where the magic is 20240520, uint32 where it is 20240801.
/// `file`: all its bytes. An Error for another magic or version and for a length that is not that
/// of the header and the tokens it states.
/// Source: the data loader and tokenizing scripts of https://github.com/karpathy/llm.c
Expected<StoredTokens> parse_llm_c_file(std::string_view file, std::string_view where);

}  // namespace kumihimo
