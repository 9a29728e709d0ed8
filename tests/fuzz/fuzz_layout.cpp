// A layout that parse_layout accepts survives being written and read again.
#include "fuzz.hpp"
#include "layout/layout_text.hpp"

using namespace kumihimo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Expected<ParallelLayout> layout = parse_layout(fuzz::as_text(data, size));
  if (!layout) {
    fuzz::check_refusal(layout);
    return 0;
  }
  const Expected<ParallelLayout> again = parse_layout(to_text(*layout));
  KUMIHIMO_CHECK(again.has_value() && *again == *layout);
  KUMIHIMO_CHECK(!short_text(*layout).empty());
  return 0;
}
