#pragma once

#include <string>

#include "cli/explanation.hpp"
#include "cli/terminal.hpp"

namespace kumihimo {

/// The explanation for people: prediction, time, memory, what binds, neighbours, timeline.
std::string explain_text(const Explanation& explanation, const Terminal& terminal);

}  // namespace kumihimo
