// Accepted points are times of some ranks.
#include "fuzz.hpp"
#include "runs/collective_points.hpp"

using namespace kumihimo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto points = parse_collectives(fuzz::as_text(data, size), "out.txt", 2);
  if (!points) {
    fuzz::check_refusal(points);
    return 0;
  }
  for (const CollectivePoint& point : *points) {
    KUMIHIMO_CHECK(point.ranks >= 2 && point.bytes > 0 && point.seconds > 0);
  }
  return 0;
}
