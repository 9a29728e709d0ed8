#pragma once

#include "cli/command.hpp"

namespace kumihimo {

void register_interactions(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
