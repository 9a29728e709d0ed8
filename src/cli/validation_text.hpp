#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "calibrate/validation.hpp"
#include "cli/terminal.hpp"

namespace kumihimo {

/// A table of the groups (of the forty largest, if there are more), the totals, and why rows were
/// skipped.
std::string validation_text(const ValidationReport& report, const Terminal& terminal);

/// The members rows, used, skipped, step_time, memory, ranking and groups of docs/json.md. Errors,
/// MFU and judgements are shares; what is not known is null.
nlohmann::ordered_json validation_json(const ValidationReport& report);

}  // namespace kumihimo
