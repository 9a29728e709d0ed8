#pragma once

#include <string>

#include "cli/job_options.hpp"
#include "report/messages.hpp"

namespace kumihimo {

/// How far predicted step times of the job are off, whatever precision a layout has, and in what
/// the job lies beyond the runs that the profile was fitted to: "step times ± 12 %, ...".
std::string step_error_text(const PlannedJob& planned, Language language);

}  // namespace kumihimo
