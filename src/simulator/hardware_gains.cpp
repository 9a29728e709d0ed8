#include "simulator/hardware_gains.hpp"

namespace kumihimo {
namespace {

bool may_use(const ParallelLayout& layout, const Cluster& cluster, HardwareFigure figure) {
  switch (figure) {
    case HardwareFigure::arithmetic:
    case HardwareFigure::memory_bandwidth: return true;
    case HardwareFigure::intra_node: return cluster.devices_per_node > 1 && layout.devices() > 1;
    case HardwareFigure::inter_node: return layout.devices() > cluster.devices_per_node;
    case HardwareFigure::host_link: return layout.offload.any();
  }
  return false;
}

}  // namespace

std::string_view key_of(HardwareFigure figure) {
  switch (figure) {
    case HardwareFigure::arithmetic: return "peak";
    case HardwareFigure::memory_bandwidth: return "memory_bandwidth";
    case HardwareFigure::intra_node: return "intra_node_bandwidth";
    case HardwareFigure::inter_node: return "inter_node_bandwidth";
    case HardwareFigure::host_link: return "host_link_bandwidth";
  }
  return "?";
}

std::string_view label(HardwareFigure figure) {
  switch (figure) {
    case HardwareFigure::arithmetic: return "arithmetic (peak FLOP/s)";
    case HardwareFigure::memory_bandwidth: return "memory bandwidth";
    case HardwareFigure::intra_node: return "bandwidth within a node";
    case HardwareFigure::inter_node: return "bandwidth between nodes";
    case HardwareFigure::host_link: return "bandwidth to the host";
  }
  return "?";
}

Cluster with_more(Cluster cluster, HardwareFigure figure, double times) {
  switch (figure) {
    case HardwareFigure::arithmetic:
      for (double& peak : cluster.device.peak_flop_per_s) peak *= times;
      for (double& achievable : cluster.device.achievable_flop_per_s) achievable *= times;
      break;
    case HardwareFigure::memory_bandwidth: cluster.device.memory_bandwidth *= times; break;
    case HardwareFigure::intra_node: cluster.intra_node.bandwidth *= times; break;
    case HardwareFigure::inter_node:
      cluster.inter_node.bandwidth *= times;
      cluster.nic_bandwidth *= times;
      break;
    case HardwareFigure::host_link: cluster.host_link_bandwidth *= times; break;
  }
  return cluster;
}

std::vector<HardwareGain> hardware_gains(const TrainingJob& job, const ParallelLayout& layout,
                                         const Schedule& schedule, const Cluster& cluster,
                                         const StackProfile& profile, double step_s) {
  std::vector<HardwareGain> gains;
  for (const HardwareFigure figure :
       {HardwareFigure::arithmetic, HardwareFigure::memory_bandwidth, HardwareFigure::intra_node,
        HardwareFigure::inter_node, HardwareFigure::host_link}) {
    if (!may_use(layout, cluster, figure)) continue;
    const auto gain = [&](double times) {
      const Cluster more = with_more(cluster, figure, times);
      const PieceCosts pieces = piece_costs(job, layout, more, profile);
      const StepCost cost = step_cost(pieces, job, layout, more, profile);
      return step_s / simulate(schedule, cost).step_s - 1;
    };
    gains.push_back({figure, gain(1.1), gain(2)});
  }
  return gains;
}

}  // namespace kumihimo
