// A stack profile that parse_stack_profile accepts is within bounds, and survives being written and
// read again.
#include "cost/stack_profile_file.hpp"
#include "fuzz.hpp"

using namespace kumihimo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Expected<StackProfile> profile =
      parse_stack_profile(fuzz::as_text(data, size), "fuzz.toml");
  if (!profile) {
    fuzz::check_refusal(profile);
    return 0;
  }
  for (const ProfileParameter& parameter : profile_parameters()) {
    const double value = (*profile).*parameter.member;
    KUMIHIMO_CHECK(value >= parameter.lower && value <= parameter.upper);
  }
  const Expected<StackProfile> again =
      parse_stack_profile(write_stack_profile(*profile), "again.toml");
  KUMIHIMO_CHECK(again.has_value() && *again == *profile);
  return 0;
}
