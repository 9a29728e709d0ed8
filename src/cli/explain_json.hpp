#pragma once

#include <nlohmann/json_fwd.hpp>

#include "cli/explanation.hpp"

namespace kumihimo {

/// The document of `explain --json`: kumihimo.explain/1 of docs/json.md.
nlohmann::ordered_json explain_json(const Explanation& explanation);

}  // namespace kumihimo
