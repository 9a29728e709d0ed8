#pragma once

#include "cli/command.hpp"

namespace kumihimo {

void register_status(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
