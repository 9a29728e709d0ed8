#pragma once

#include "cli/command.hpp"

namespace kumihimo {

void register_validate(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
