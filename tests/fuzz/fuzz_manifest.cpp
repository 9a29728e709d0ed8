// A manifest that parse_manifest accepts survives being written and read again.
#include "fuzz.hpp"
#include "saved_state/manifest.hpp"

using namespace kumihimo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Expected<Manifest> manifest = parse_manifest(fuzz::as_text(data, size), "manifest.json");
  if (!manifest) {
    fuzz::check_refusal(manifest);
    return 0;
  }
  const std::string text = write_manifest(*manifest);
  const Expected<Manifest> again = parse_manifest(text, "again.json");
  KUMIHIMO_CHECK(again.has_value() && write_manifest(*again) == text);
  return 0;
}
