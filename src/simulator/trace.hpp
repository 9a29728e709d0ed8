#pragma once

#include <string>
#include <string_view>

#include "schedule/schedule.hpp"
#include "simulator/simulate.hpp"

namespace kumihimo {

/// A played step as trace-event JSON, which Perfetto and chrome://tracing open: a track per
/// pipeline rank with its passes, then gradient reduction, optimizer, weight gather and the fixed
/// time of a step. Times are in microseconds. `title` names the process. Requires spans. Source:
/// "Trace Event Format", the Chromium project.
std::string chrome_trace(const Schedule& schedule, const StepCost& cost,
                         const SimulatedStep& played, std::string_view title);

}  // namespace kumihimo
