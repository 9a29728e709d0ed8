#pragma once

#include "cli/command.hpp"

namespace kumihimo {

void register_sweep(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
