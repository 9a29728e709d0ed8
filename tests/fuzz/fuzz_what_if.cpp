// What a page sends its planner: settings that are accepted survive being written and read again.
#include "fuzz.hpp"
#include "what_if/what_if.hpp"

using namespace kumihimo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(fuzz::as_text(data, size));
  if (const Expected<WhatIfSettings> settings = parse_what_if_settings(text)) {
    const auto again = parse_what_if_settings(to_json_text(*settings));
    KUMIHIMO_CHECK(again.has_value() && to_json_text(*again) == to_json_text(*settings));
  } else {
    fuzz::check_refusal(settings);
  }
  if (const Expected<WhatIfBasis> basis = parse_what_if_basis(text)) {
    const auto again = parse_what_if_basis(to_json_text(*basis));
    KUMIHIMO_CHECK(again.has_value() && to_json_text(*again) == to_json_text(*basis));
  } else {
    fuzz::check_refusal(basis);
  }
  return 0;
}
