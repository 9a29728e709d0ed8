#pragma once

#include "cli/command.hpp"

namespace kumihimo {

void register_calibrate(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
