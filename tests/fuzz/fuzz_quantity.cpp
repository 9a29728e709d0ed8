// A quantity that parse_quantity accepts is finite and not negative, and can be printed. The first
// byte chooses the dimension.
#include "base/units.hpp"
#include "fuzz.hpp"

using namespace kumihimo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  constexpr Dimension dimensions[] = {Dimension::bytes,
                                      Dimension::bytes_per_second,
                                      Dimension::flop_per_second,
                                      Dimension::seconds,
                                      Dimension::watts,
                                      Dimension::money,
                                      Dimension::ratio};
  const Dimension dimension = dimensions[data[0] % std::size(dimensions)];
  const Expected<double> value =
      parse_quantity(fuzz::as_text(data + 1, size - 1), dimension, "fuzz");
  if (!value) {
    fuzz::check_refusal(value);
    return 0;
  }
  KUMIHIMO_CHECK(std::isfinite(*value) && *value >= 0);
  KUMIHIMO_CHECK(!format_bytes(*value).empty());
  KUMIHIMO_CHECK(!format_seconds(*value).empty());
  KUMIHIMO_CHECK(!format_flop_per_second(*value).empty());
  KUMIHIMO_CHECK(!format_bytes_per_second(*value).empty());
  return 0;
}
