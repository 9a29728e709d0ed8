// A cluster that parse_cluster accepts survives being written and read again.
#include "cluster/cluster_file.hpp"
#include "fuzz.hpp"

using namespace kumihimo;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Expected<Cluster> cluster = parse_cluster(fuzz::as_text(data, size), "fuzz.toml");
  if (!cluster) {
    fuzz::check_refusal(cluster);
    return 0;
  }
  KUMIHIMO_CHECK(cluster->devices() > 0 && cluster->device.memory > 0);
  const Expected<Cluster> again = parse_cluster(write_cluster(*cluster), "again.toml");
  KUMIHIMO_CHECK(again.has_value() && *again == *cluster);
  return 0;
}
