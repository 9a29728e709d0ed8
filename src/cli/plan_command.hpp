#pragma once

#include "cli/command.hpp"

namespace kumihimo {

void register_plan(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
