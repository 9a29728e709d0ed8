#pragma once

#include "cli/command.hpp"

namespace kumihimo {

/// The commands that list the catalog and show its entries.
void register_models(CLI::App& program, CommandResult& result);
void register_clusters(CLI::App& program, CommandResult& result);
void register_stacks(CLI::App& program, CommandResult& result);

}  // namespace kumihimo
