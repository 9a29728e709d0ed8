#pragma once

#include "cli/command.hpp"

namespace kumihimo {

void register_completion(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
