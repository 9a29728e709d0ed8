#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/precision.hpp"
#include "base/units.hpp"

namespace kumihimo {

/// What the best matrix products reach of the peak on most accelerators: the middle of those whose
/// catalog files state it.
constexpr double usual_achievable_share(Precision precision) {
  return precision == Precision::fp8 ? 0.73 : 0.8;
}

/// One accelerator (for MI250X: one of its two dies, as frameworks see it): what the vendor states,
/// and what no software gets past. How well a framework does stands in the stack profile.
struct Device {
  std::string name;
  /// "volta", "ampere", "ada", "hopper", "blackwell", "cdna2", "cdna3", "cpu": which kernels run.
  /// Empty: not stated.
  std::string architecture;
  Bytes memory = 0;                         ///< as the driver reports it
  double memory_bandwidth = 0;              ///< bytes/s
  std::array<double, 5> peak_flop_per_s{};  ///< dense, by Precision; 0: not supported
  /// What the best matrix product was measured to reach of it, by Precision: power limits and
  /// clocks leave more of the peak on one device than on another. 0: not known.
  std::array<double, 5> achievable_flop_per_s{};
  /// What kernels on a warp's matrix instructions (FlashAttention 1, 2) can keep up with of that:
  /// less than all where larger groups of threads have faster ones (Hopper).
  double warp_mma = 1;
  double power_w = 0;  ///< 0: not stated

  double peak(Precision precision) const {
    return peak_flop_per_s[static_cast<std::size_t>(precision)];
  }
  /// FLOP/s that matrix products may reach. Where it was not measured: the share of the peak that
  /// bf16 reaches, or the usual one.
  double achievable(Precision precision) const {
    const auto measured = [&](Precision of) {
      return achievable_flop_per_s[static_cast<std::size_t>(of)];
    };
    if (measured(precision) > 0) return measured(precision);
    const double share = measured(Precision::bf16) > 0
                             ? measured(Precision::bf16) / peak(Precision::bf16)
                             : usual_achievable_share(precision);
    return share * peak(precision);
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
  int devices_per_node = 0;      ///< devices that the intra-node link joins (NVL72: 72)
  int nodes = 0;                 ///< how many there are; plan's default for --gpus
  Link intra_node;               ///< per device, to all others of its node together
  bool intra_node_mesh = false;  ///< every two devices of a node by links of their own
  Link inter_node;               ///< per device: NIC bandwidth x nics_per_node / devices_per_node
  int nics_per_node = 0;
  double nic_bandwidth = 0;        ///< bytes/s of one NIC, one direction
  Bytes host_memory = 0;           ///< per node
  double host_link_bandwidth = 0;  ///< bytes/s per device, one direction
  std::optional<Money> price_per_device_hour;
  std::vector<Source> sources;

  int devices() const { return devices_per_node * nodes; }
  /// bytes/s that each of `ranks` devices of one node can send to the others of them. Through a
  /// switch all that a device has; in a mesh the links that lead to them, which many rings at once
  /// fill; one rank alone is asked about as if it had one other.
  double intra_node_bandwidth(int ranks) const {
    if (!intra_node_mesh || ranks >= devices_per_node) return intra_node.bandwidth;
    return intra_node.bandwidth * std::max(ranks - 1, 1) / (devices_per_node - 1);
  }
  bool operator==(const Cluster&) const = default;
};

}  // namespace kumihimo
