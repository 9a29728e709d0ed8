#pragma once

#include "cli/command.hpp"

namespace kumihimo {

void register_replay(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
