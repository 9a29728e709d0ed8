#pragma once

#include "cli/command.hpp"

namespace kumihimo {

void register_train(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
