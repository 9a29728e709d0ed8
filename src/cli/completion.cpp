#include "cli/completion.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace kumihimo {
namespace {

/// Calls `visit` for the program and every command below it.
template <class Visit>
void for_each_command(const CommandTree& command, const Visit& visit) {
  visit(command);
  for (const CommandTree& child : command.commands) for_each_command(child, visit);
}

/// In single quotes, for any of the three shells.
std::string quoted(std::string_view text, std::string_view quote_inside) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string(quote_inside) : std::string(1, c);
  return result + "'";
}

/// Case patterns of all commands: "kumihimo plan" | "kumihimo models show".
std::string command_patterns(const CommandTree& program) {
  std::string patterns;
  for_each_command(program, [&](const CommandTree& command) {
    if (command.name == program.name) return;
    patterns += fmt::format("{}\"{}\"", patterns.empty() ? "" : " | ", command.name);
  });
  return patterns;
}

}  // namespace

std::string bash_completion(const CommandTree& program) {
  std::string cases;
  for_each_command(program, [&](const CommandTree& command) {
    std::vector<std::string> words = command_names(command);
    for (const std::string& name : flag_names(command)) words.push_back(name);
    cases += fmt::format("    \"{}\") known=\"{}\" ;;\n", command.name, fmt::join(words, " "));
  });
  return fmt::format(R"(# bash completion for kumihimo; made by `kumihimo completion bash`
_kumihimo() {{
  local command=kumihimo known="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$command ${{COMP_WORDS[i]}}" in
      {}) command="$command ${{COMP_WORDS[i]}}" ;;
    esac
  done
  case "$command" in
{}  esac
  COMPREPLY=($(compgen -W "$known" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _kumihimo kumihimo
)",
                     command_patterns(program), cases);
}

std::string zsh_completion(const CommandTree& program) {
  std::string cases;
  for_each_command(program, [&](const CommandTree& command) {
    std::string entries;
    const auto add = [&entries](const std::string& name, const std::string& help) {
      entries += "\n      " + quoted(name + ":" + help, "'\\''");
    };
    for (const CommandTree& child : command.commands) add(child.word(), child.summary);
    for (const FlagEntry& flag : command.flags) {
      if (!flag.positional) add(flag.name, flag.help);
    }
    cases += fmt::format("    \"{}\") entries=({}) ;;\n", command.name, entries);
  });
  return fmt::format(R"(#compdef kumihimo
# zsh completion for kumihimo; made by `kumihimo completion zsh`
_kumihimo() {{
  local command=kumihimo i
  local -a entries
  for ((i = 2; i < CURRENT; i++)); do
    case "$command $words[i]" in
      ({}) command="$command $words[i]" ;;
    esac
  done
  case "$command" in
{}  esac
  _describe -o kumihimo entries || _files
}}
_kumihimo "$@"
)",
                     command_patterns(program), cases);
}

std::string fish_completion(const CommandTree& program) {
  std::string text = "# fish completion for kumihimo; made by `kumihimo completion fish`\n";
  for_each_command(program, [&](const CommandTree& command) {
    const bool top = command.name == program.name;
    const std::string condition =
        top ? "__fish_use_subcommand" : "__fish_seen_subcommand_from " + command.word();
    const std::string begin = fmt::format("complete -c kumihimo -n '{}'", condition);
    for (const CommandTree& child : command.commands) {
      text += fmt::format("{} -f -a {} -d {}\n", begin, child.word(), quoted(child.summary, "\\'"));
    }
    for (const FlagEntry& flag : command.flags) {
      if (flag.positional) continue;
      text += fmt::format("{} -l {}{} -d {}\n", begin, flag.name.substr(2),
                          flag.value.empty() ? "" : " -r", quoted(flag.help, "\\'"));
    }
  });
  return text;
}

}  // namespace kumihimo
