#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/precision.hpp"
#include "base/units.hpp"

namespace kumihimo {

/// One accelerator (for MI250X: one of its two dies, as frameworks see it). Vendor figures only:
/// how well software reaches them stands in the stack profile.
struct Device {
  std::string name;
  /// "volta", "ampere", "ada", "hopper", "blackwell", "cdna2", "cdna3", "cpu": which kernels run.
  /// Empty: not stated.
  std::string architecture;
  Bytes memory = 0;                         ///< as the driver reports it
  double memory_bandwidth = 0;              ///< bytes/s
  std::array<double, 5> peak_flop_per_s{};  ///< dense, by Precision; 0: not supported
  double power_w = 0;                       ///< 0: not stated

  double peak(Precision precision) const {
    return peak_flop_per_s[static_cast<std::size_t>(precision)];
  }
  bool supports(Precision precision) const { return peak(precision) > 0; }
  bool operator==(const Device&) const = default;
};

/// bandwidth: bytes/s that one device can send while it also receives as much.
struct Link {
  double bandwidth = 0;
  double latency_s = 0;

  bool operator==(const Link&) const = default;
};

struct Source {
  std::vector<std::string> keys;  ///< "device.peak.bf16"
  std::string title;
  std::string url;  ///< empty: measured or assumed, as the title says

  bool operator==(const Source&) const = default;
};

struct Cluster {
  std::string name;
  std::string description;
  std::vector<std::string> aliases;  ///< gpu_type spellings in published runs
  Device device;
  int devices_per_node = 0;  ///< devices that the intra-node link joins (NVL72: 72)
  int nodes = 0;             ///< how many there are; plan's default for --gpus
  Link intra_node;           ///< per device
  Link inter_node;           ///< per device: NIC bandwidth x nics_per_node / devices_per_node
  int nics_per_node = 0;
  double nic_bandwidth = 0;        ///< bytes/s of one NIC, one direction
  Bytes host_memory = 0;           ///< per node
  double host_link_bandwidth = 0;  ///< bytes/s per device, one direction
  std::optional<double> price_per_device_hour;
  std::vector<Source> sources;

  int devices() const { return devices_per_node * nodes; }
  bool operator==(const Cluster&) const = default;
};

}  // namespace kumihimo
