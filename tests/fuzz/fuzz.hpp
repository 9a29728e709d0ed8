#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.hpp"

namespace kumihimo::fuzz {

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// What every parser promises about a refusal: each fault says something, and can be printed.
template <class T>
void check_refusal(const Expected<T>& result) {
  for (const Error& error : result.errors()) KUMIHIMO_CHECK(!error.what.empty());
  KUMIHIMO_CHECK(!to_string(result.errors()).empty());
}

}  // namespace kumihimo::fuzz
