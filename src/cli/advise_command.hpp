#pragma once

#include "cli/command.hpp"

namespace kumihimo {

void register_advise(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
