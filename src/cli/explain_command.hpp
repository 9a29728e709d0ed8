#pragma once

#include "cli/command.hpp"

namespace kumihimo {

void register_explain(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
