#include "advise/machines.hpp"

#include <algorithm>
#include <cmath>

namespace kumihimo {
namespace {

/// Things that two options must not both change: a bit each.
unsigned changed_things(const HardwareChange& change) {
  const auto bit = [](bool changed, int position) { return changed ? 1U << position : 0U; };
  return bit(change.cluster.has_value(), 0) |
         bit(change.devices.has_value() || change.devices_times.has_value(), 1) |
         bit(change.nic_bandwidth.has_value() || change.inter_node_times.has_value(), 2) |
         bit(change.intra_node_bandwidth.has_value(), 3) |
         bit(change.device_memory.has_value(), 4) | bit(change.profile.has_value(), 5);
}

Machine own_machine(const AdviceRequest& request) {
  return {.cluster = request.cluster,
          .profile = request.profile,
          .devices = request.devices,
          .price_per_device_hour = request.prices.device_hour
                                       ? request.prices.device_hour
                                       : request.cluster.price_per_device_hour};
}

/// The machine itself first, since links and memory are added to it.
void apply_cluster(const HardwareChange& change, Machine& machine) {
  if (change.cluster) {
    machine.cluster = *change.cluster;
    // Today's price is that of today's devices.
    machine.price_per_device_hour = change.cluster->price_per_device_hour;
  }
  if (change.profile) machine.profile = *change.profile;
}

void apply_rest(const HardwareChange& change, Machine& machine) {
  Cluster& cluster = machine.cluster;
  if (change.devices) machine.devices = *change.devices;
  if (change.devices_times) {
    machine.devices = std::max<std::int64_t>(
        1, std::llround(static_cast<double>(machine.devices) * *change.devices_times));
  }
  if (change.nic_bandwidth) {
    const double per_device = *change.nic_bandwidth * std::max(1, cluster.nics_per_node) /
                              std::max(1, cluster.devices_per_node);
    cluster.inter_node.bandwidth = std::max(cluster.inter_node.bandwidth, per_device);
  }
  if (change.inter_node_times) cluster.inter_node.bandwidth *= *change.inter_node_times;
  if (change.intra_node_bandwidth) {
    cluster.intra_node.bandwidth =
        std::max(cluster.intra_node.bandwidth, *change.intra_node_bandwidth);
  }
  if (change.device_memory) {
    cluster.device.memory =
        std::max(cluster.device.memory, static_cast<Bytes>(std::llround(*change.device_memory)));
  }
  if (change.price_per_device_hour) machine.price_per_device_hour = change.price_per_device_hour;
}

Machine machine_with(const AdviceRequest& request, OptionSet taken) {
  Machine machine = own_machine(request);
  machine.options = taken;
  const auto each = [&](auto apply) {
    for (std::size_t i = 0; i < request.options.size(); ++i) {
      if ((taken >> i & 1) != 0) apply(request.options[i].hardware, machine);
    }
  };
  each(apply_cluster);
  each(apply_rest);
  return machine;
}

}  // namespace

std::vector<Machine> machines_of(const AdviceRequest& request, bool combined) {
  struct Combination {
    OptionSet options;
    unsigned changed;
  };
  std::vector<Combination> combinations{{0, 0}};
  for (std::size_t i = 0; i < request.options.size(); ++i) {
    const UpgradeOption& option = request.options[i];
    if (option.kind() != OptionKind::hardware) continue;
    if (machine_change(option, request) != NoChange::none) continue;
    const unsigned changed = changed_things(option.hardware);
    const std::size_t before = combined ? combinations.size() : 1;
    for (std::size_t j = 0; j < before; ++j) {
      if ((combinations[j].changed & changed) != 0) continue;
      combinations.push_back(
          {combinations[j].options | OptionSet{1} << i, combinations[j].changed | changed});
    }
  }
  std::vector<Machine> machines;
  for (const Combination& combination : combinations) {
    machines.push_back(machine_with(request, combination.options));
  }
  return machines;
}

NoChange machine_change(const UpgradeOption& option, const AdviceRequest& request) {
  const HardwareChange& change = option.hardware;
  if (!change.any() || !option.opens.empty()) return NoChange::none;
  AdviceRequest only = request;
  only.options = {option};
  const Machine now = own_machine(request), then = machine_with(only, 1);
  const Device& old_device = now.cluster.device;
  const Device& new_device = then.cluster.device;
  if (change.cluster && new_device.name == old_device.name) return NoChange::already_so;
  if (change.cluster && new_device.peak(Precision::bf16) <= old_device.peak(Precision::bf16) &&
      new_device.memory <= old_device.memory &&
      new_device.memory_bandwidth <= old_device.memory_bandwidth) {
    return NoChange::no_upgrade;
  }
  if (request.goal == AdviceGoal::cost && !then.price_per_device_hour &&
      now.price_per_device_hour) {
    return NoChange::no_price;
  }
  const bool same =
      now.cluster == then.cluster && now.devices == then.devices && now.profile == then.profile;
  return same ? NoChange::already_so : NoChange::none;
}

std::optional<double> step_cost_of(const Machine& machine, double step_s) {
  if (!machine.price_per_device_hour) return std::nullopt;
  return machine.price_per_device_hour->amount * static_cast<double>(machine.devices) * step_s /
         3600;
}

}  // namespace kumihimo
