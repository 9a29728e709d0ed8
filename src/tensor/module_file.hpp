#pragma once

#include <string>

#include "base/error.hpp"

namespace kumihimo {

/// The function `symbol` of a module that the program loads when it is needed. It is looked for
/// where the program's run path says, and never unloaded: NVIDIA's libraries do not like to go
/// before the process. `needs`: what has to be installed for it, for the Error.
Expected<void*> function_of_module(const std::string& file, const std::string& symbol,
                                   const std::string& needs);

}  // namespace kumihimo
