#include "cli/this_machine.hpp"

namespace kumihimo {

Cluster this_machine(std::int64_t ranks) {
  constexpr double some_rate = 1e11;
  Cluster machine;
  machine.name = "this machine";
  machine.device.name = "a CPU";
  machine.device.architecture = "cpu";
  machine.device.memory = Bytes{1} << 40;
  machine.device.memory_bandwidth = some_rate;
  for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::fp8}) {
    machine.device.peak_flop_per_s[static_cast<std::size_t>(precision)] = some_rate;
    machine.device.achievable_flop_per_s[static_cast<std::size_t>(precision)] = some_rate;
  }
  machine.devices_per_node = static_cast<int>(ranks);
  machine.nodes = 1;
  machine.host_memory = machine.device.memory * ranks;
  machine.host_link_bandwidth = some_rate;
  machine.intra_node = {some_rate, 1e-6};
  machine.inter_node = machine.intra_node;
  machine.nics_per_node = 1;
  machine.nic_bandwidth = some_rate;
  return machine;
}

}  // namespace kumihimo
