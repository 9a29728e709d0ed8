#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace kumihimo {

/// Counts with their reasons, the largest first, at most eight of them and the rest in one line.
std::string reason_lines(const std::map<std::string, std::int64_t>& reasons);

}  // namespace kumihimo
