#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "cli/exit_code.hpp"
#include "cli/flags.hpp"

// What a command is. Its companions: cli/flags.hpp (reading flags), cli/terminal.hpp (printing),
// cli/table.hpp, cli/json_text.hpp, cli/progress.hpp and cli/interrupt.hpp.

namespace CLI {
class App;
}

namespace kumihimo {

/// Runs a command. `faults` holds what is already wrong with its command line (unknown flags): the
/// command adds its own and, if there are any, prints them all and returns bad_input (refuse).
using CommandAction = std::function<ExitCode(const Flags& flags, Errors faults)>;

struct CommandText {
  std::string_view name;
  std::string_view summary;  ///< one line, for the list of commands
  std::string_view example;  ///< a worked example for the end of --help: command lines, a note each
};

struct RegisteredCommand {
  CLI::App* app;
  std::shared_ptr<Flags> flags;
  CommandAction action;
};

/// The registered commands; after parsing, program.cpp runs the action of the one that was named.
struct CommandResult {
  std::vector<RegisteredCommand> commands;
};

/// Adds a command to `parent` (the program, or a command with commands of its own). The caller adds
/// its flags to the result, which `action` is given back after parsing:
///
///     void register_validate(CLI::App& program, CommandResult& result) {
///       Flags& flags = add_command(program, result, {"validate", "…", "…"}, run_validate);
///       flags.add_values("--runs", "FILE", "measured runs, in the CSV schema of docs/runs.md");
///     }
///
/// program.cpp lists the register functions.
Flags& add_command(CLI::App& parent, CommandResult& result, const CommandText& text,
                   CommandAction action);

/// Leaves the command out of --help, man page and completions.
void hide_command(const Flags& flags);

}  // namespace kumihimo
