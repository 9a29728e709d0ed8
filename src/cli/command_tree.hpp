#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace kumihimo {

/// One flag (or positional) of a command as help, man page and completion show it.
struct FlagEntry {
  std::string name;        ///< "--gpus", or "NAME" if positional
  std::string short_name;  ///< "-h", or empty
  std::string value;       ///< "N"; empty for a switch
  std::string help;
  std::string group;
  bool positional = false;
};

/// A command with its flags and commands, as registered with the parser: the one source of --help,
/// the man page and the completions.
struct CommandTree {
  std::string name;  ///< "kumihimo plan"
  std::string summary;
  std::string example;
  std::vector<FlagEntry> flags;
  std::vector<CommandTree> commands;  ///< without hidden ones

  /// The last word of the name.
  std::string word() const { return name.substr(name.rfind(' ') + 1); }
};

CommandTree read_command_tree(const CLI::App& app);

/// The words that a flag's value is one of (or a list of), as its help names them: "on|off" for the
/// value, or "none (default), selective, full"; empty where it says something else.
std::vector<std::string> choices_of(const FlagEntry& flag);

/// The command that lists what a flag's value, or a positional of `command`, may name in the
/// catalog: "models", "clusters", "stacks", or empty.
std::string catalog_list_of(const CommandTree& command, const FlagEntry& flag);

/// Names of all flags that begin with "--".
std::vector<std::string> flag_names(const CommandTree& command);
std::vector<std::string> command_names(const CommandTree& command);

/// What --help prints.
std::string help_text(const CommandTree& command);

}  // namespace kumihimo
