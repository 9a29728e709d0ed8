#include "cli/completion_command.hpp"

#include <array>

#include "base/suggest.hpp"
#include "cli/command_tree.hpp"
#include "cli/completion.hpp"
#include "cli/terminal.hpp"

namespace kumihimo {
namespace {

constexpr std::string_view example =
    R"(  kumihimo completion bash > ~/.local/share/bash-completion/completions/kumihimo
      completes commands, flags and their values in new shells)";

ExitCode run_completion(const CLI::App& program, const Flags& flags, Errors faults) {
  const std::array<std::string, 3> shells{"bash", "zsh", "fish"};
  const auto shell = flags.required_text("SHELL", "name bash, zsh or fish", faults);
  if (!faults.empty()) return refuse(faults);
  const CommandTree tree = read_command_tree(program);
  if (*shell == "bash") return print(bash_completion(tree));
  if (*shell == "zsh") return print(zsh_completion(tree));
  if (*shell == "fish") return print(fish_completion(tree));
  return refuse(
      {{"SHELL", "\"" + shell->substr(0, 60) + "\" is unknown", suggest(*shell, shells)}});
}

}  // namespace

void register_completion(CLI::App& program, CommandResult& result) {
  Flags& flags =
      add_command(program, result, {"completion", "Print a shell's completion script", example},
                  [&program](const Flags& given, Errors faults) {
                    return run_completion(program, given, std::move(faults));
                  });
  flags.add_positional("SHELL", "bash, zsh, fish");
}

}  // namespace kumihimo
