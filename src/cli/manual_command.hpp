#pragma once

#include "cli/command.hpp"

namespace kumihimo {

void register_manual(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
