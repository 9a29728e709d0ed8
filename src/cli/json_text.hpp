#pragma once

#include <exception>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace kumihimo {

/// The document as the program prints it: indented by two, members in the order of insertion,
/// numbers with the digits that read back to the same double (no NaN: it becomes null), text that
/// is not UTF-8 repaired, ended by a newline. Every document starts with "schema":
/// "kumihimo.NAME/VERSION"; docs/json.md describes them.
std::string to_json_text(const nlohmann::ordered_json& document);

/// What nlohmann::json found wrong with a document, without its own name and number for that.
std::string fault_text(const std::exception& error);

}  // namespace kumihimo
