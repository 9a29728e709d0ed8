#pragma once

#include <string>

#include "data/token_source.hpp"

namespace kumihimo {

/// By which a corpus is known again: its description, and a hash of tokens from all over it. Two
/// corpora of one name and length differ in it, unless they differ in few places only.
std::string data_identity(const TokenSource& tokens);

}  // namespace kumihimo
