#pragma once

#include <string>

#include "cli/command_tree.hpp"

namespace kumihimo {

/// Completion scripts for the program's commands and flags, made from its own table of them.
std::string bash_completion(const CommandTree& program);
std::string zsh_completion(const CommandTree& program);
std::string fish_completion(const CommandTree& program);

/// The man page kumihimo(1), as roff.
std::string manual_page(const CommandTree& program);

}  // namespace kumihimo
