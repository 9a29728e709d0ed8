#pragma once

#include "cli/command.hpp"

namespace kumihimo {

void register_store(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
