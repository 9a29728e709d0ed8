#pragma once

#include <string_view>
#include <vector>

#include "cost/step_cost.hpp"
#include "simulator/simulate.hpp"

namespace kumihimo {

/// What a cluster can have more of.
enum class HardwareFigure { arithmetic, memory_bandwidth, intra_node, inter_node, host_link };

/// "inter_node_bandwidth": in JSON.
std::string_view key_of(HardwareFigure figure);
/// "bandwidth between nodes"
std::string_view label(HardwareFigure figure);

/// The cluster with `times` as much of a figure: of arithmetic, every peak and what products reach
/// of it; of links, the bandwidth.
Cluster with_more(Cluster cluster, HardwareFigure figure, double times);

/// What more of a figure does to a layout that stays as it is: speed over today's, less one.
struct HardwareGain {
  HardwareFigure figure = HardwareFigure::arithmetic;
  double a_tenth = 0;  ///< with 1.1 times as much
  double twice = 0;
};

/// Of every figure that the layout may use, in their order: links between nodes where it has more
/// than one node, the host link where it offloads. `schedule`: the layout's; `step_s`: its step on
/// `cluster`.
std::vector<HardwareGain> hardware_gains(const TrainingJob& job, const ParallelLayout& layout,
                                         const Schedule& schedule, const Cluster& cluster,
                                         const StackProfile& profile, double step_s);

}  // namespace kumihimo
