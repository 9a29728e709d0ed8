#pragma once

#include <string>
#include <vector>

#include "runs/measured_run.hpp"

namespace kumihimo {

/// Name of the catalog's profile that stands for measured runs where the user names none: what most
/// of the usable ones choose. A run chooses the profile whose `sources` its own source names, of
/// several the one that was measured on its device; else default_stack() of its cluster, or
/// "uncalibrated" where its device is unknown.
std::string stack_of_runs(const std::vector<MeasuredRun>& runs);

}  // namespace kumihimo
