#pragma once

#include <optional>
#include <string>

#include "cluster/cluster.hpp"
#include "cost/stack_profile.hpp"

namespace kumihimo {

/// Name of the catalog's profile that stands for a cluster where the user names none: the one
/// fitted to the nearest generation of devices, by architecture, else by the device's name.
/// "uncalibrated", round figures that nobody fitted, where the catalog has none that is near, as
/// for CPUs.
std::string default_stack(const Cluster& cluster);

/// The device that `profile` was measured on, where the cluster has another: its error band was not
/// earned here. Nothing for a profile without evidence, which was measured nowhere.
std::optional<std::string> measured_elsewhere(const StackProfile& profile, const Cluster& cluster);

}  // namespace kumihimo
