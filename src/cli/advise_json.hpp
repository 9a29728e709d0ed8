#pragma once

#include <nlohmann/json_fwd.hpp>

#include "advise/advice.hpp"
#include "cli/advise_options.hpp"

namespace kumihimo {

/// The document of `advise --json`: "kumihimo.advise/1".
nlohmann::ordered_json advise_json(const AdviseQuestion& question, const Advice& advice,
                                   Language language);

}  // namespace kumihimo
