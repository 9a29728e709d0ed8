// A file of options that parse_upgrades accepts has options that change something and cost no less
// than nothing.
#include "advise/upgrades_file.hpp"
#include "fuzz.hpp"

using namespace kumihimo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Expected<Upgrades> upgrades = parse_upgrades(fuzz::as_text(data, size), "fuzz.toml");
  if (!upgrades) {
    fuzz::check_refusal(upgrades);
    return 0;
  }
  for (const UpgradeOption& option : upgrades->options) {
    KUMIHIMO_CHECK(!option.opens.empty() || option.hardware.any());
    KUMIHIMO_CHECK(cost_of(option, upgrades->prices) >= 0);
    KUMIHIMO_CHECK(option.effort >= 0 && option.effort <= 10);
  }
  return 0;
}
