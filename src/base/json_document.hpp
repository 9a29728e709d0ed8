#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "base/error.hpp"

namespace kumihimo {

/// Reads a JSON text that somebody wrote, copied or edited, stricter than nlohmann::json: nothing
/// may follow the value, not even behind a NUL byte, and no object may state a key twice, of which
/// the library keeps the last. Faults stand at "where" (with line and column) or "where:
/// key.of.key"; `remedy` says what to give instead, such as "name a Hugging Face config.json".
Expected<nlohmann::json> parse_json(std::string_view text, std::string_view where,
                                    std::string_view remedy);

}  // namespace kumihimo
