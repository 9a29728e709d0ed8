#pragma once

#include <span>
#include <string>
#include <string_view>

namespace kumihimo {

/// "did you mean \"llama-13b\"? known: …": the nearest of `known` by edit distance if it is near,
/// then the list. For the `fix` of an Error about an unknown name.
std::string suggest(std::string_view name, std::span<const std::string> known);

}  // namespace kumihimo
