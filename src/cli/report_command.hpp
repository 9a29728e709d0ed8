#pragma once

#include "cli/command.hpp"

namespace kumihimo {

void register_report(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
