#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/cluster.hpp"
#include "cost/stack_profile.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// What an option can open for use. `split` is tp, pp, cp and dp together: they are chosen as one.
enum class OpenedKnob : std::uint8_t {
  split,
  micro_batch,
  schedule,
  recompute,
  sequence_parallel,
  zero,
  attention,
  norm,
  precision,
  overlap_data_parallel,
  overlap_tensor_parallel,
  offload,
};

/// A knob as the files name it, and how its values compare and are copied.
struct KnobRule {
  OpenedKnob knob;
  std::string_view key;  ///< as in parse_layout, but "split"
  bool (*same)(const ParallelLayout&, const ParallelLayout&);
  void (*copy)(const ParallelLayout& from, ParallelLayout& to);
};

const std::vector<KnobRule>& knob_rules();
const KnobRule& rule_of(OpenedKnob knob);

/// One value of a knob that may be used once the option is taken, or every value that makes sense.
struct Opening {
  OpenedKnob knob;
  std::optional<ParallelLayout> value;  ///< holds the value of that knob; absent: any
};

/// What is bought. Absent: stays as it is.
struct HardwareChange {
  std::optional<Cluster> cluster;       ///< another machine; its own links and memory come with it
  std::optional<StackProfile> profile;  ///< of the software there
  std::optional<std::int64_t> devices;
  std::optional<double> devices_times;
  std::optional<double> nic_bandwidth;  ///< bytes/s of one NIC, as in a cluster file
  std::optional<double> inter_node_times;
  std::optional<double> intra_node_bandwidth;  ///< bytes/s per device
  std::optional<double> device_memory;         ///< bytes
  std::optional<Money> price_per_device_hour;

  bool any() const {
    return cluster || profile || devices || devices_times || nic_bandwidth || inter_node_times ||
           intra_node_bandwidth || device_memory;
  }
};

enum class OptionKind : std::uint8_t {
  knob,      ///< a setting of the software that is there
  software,  ///< kernels and precision: something to install and to prove
  hardware,
};

/// One change that is open to the user.
struct UpgradeOption {
  std::string name;
  std::string description;
  std::vector<Opening> opens;
  HardwareChange hardware;
  std::vector<std::string> requires_options;  ///< names of options without which it does nothing

  std::optional<Money> purchase;
  double engineer_days = 0;  ///< once
  double effort = 0;         ///< of running it, 0 (none) to 10
  std::string reason;        ///< for the effort

  OptionKind kind() const;
  /// Whether anything says what hardware costs: its purchase, or an hour of a device. Work alone
  /// does not buy a machine.
  bool states_price() const;
};

/// Whether the option lets matrix products run in fp8.
bool opens_fp8(const UpgradeOption& option);

/// What the user's file says of money.
struct Prices {
  std::optional<Money> device_hour;
  std::optional<Money> engineer_day;
  std::optional<Money> effort_point;  ///< what a point of operating effort is worth to the user
};

/// What taking the option costs: purchase, engineer-days and effort as far as they have a price.
/// Requires all to be in one currency (currency.hpp).
double cost_of(const UpgradeOption& option, const Prices& prices);

struct Upgrades {
  Prices prices;
  std::vector<UpgradeOption> options;

  /// Whether any option costs anything: without costs, gains alone decide.
  bool states_costs() const;
};

}  // namespace kumihimo
