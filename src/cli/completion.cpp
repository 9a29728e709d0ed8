#include "cli/completion.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>

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

/// A shell's command that prints the names of a list of the catalog; `program`: the word that ran
/// it, `quote`: a quotation mark that may stand where the command does.
std::string listing(std::string_view program, std::string_view list, char quote = '\'') {
  return fmt::format("({0} {1} 2>/dev/null | tail -n +2 | cut -d {2} {2} -f 1)", program, list,
                     quote);
}

/// A condition of fish: the words of this command have been typed; of the program: none yet.
std::string fish_seen(const CommandTree& command) {
  std::string condition;
  std::string_view words = command.name;
  while (words.find(' ') != std::string_view::npos) {
    words.remove_prefix(words.find(' ') + 1);
    condition += fmt::format("{}__fish_seen_subcommand_from {}", condition.empty() ? "" : "; and ",
                             words.substr(0, words.find(' ')));
  }
  return condition.empty() ? "__fish_use_subcommand" : condition;
}

/// The words that may stand where the command's positionals do; `list`: made of a list's name.
template <class List>
std::string positional_words(const CommandTree& command, const List& list) {
  std::vector<std::string> words;
  for (const FlagEntry& flag : command.flags) {
    if (!flag.positional) continue;
    for (const std::string& choice : choices_of(flag)) words.push_back(choice);
    const std::string names = catalog_list_of(command, flag);
    if (!names.empty()) words.push_back(list(names));
  }
  return fmt::format("{}", fmt::join(words, " "));
}

constexpr std::string_view bash_program = "${COMP_WORDS[0]}";

/// Patterns of commands and flags, by the words that may follow; flags without choices take files.
using ValueCases = std::map<std::string, std::string>;

ValueCases value_cases(const CommandTree& program, std::string_view run) {
  ValueCases cases;
  for_each_command(program, [&](const CommandTree& command) {
    for (const FlagEntry& flag : command.flags) {
      if (flag.value.empty() || flag.positional) continue;
      const std::string list = catalog_list_of(command, flag);
      std::string& patterns =
          cases[list.empty() ? fmt::format("{}", fmt::join(choices_of(flag), " "))
                             : "$" + listing(run, list)];
      patterns +=
          fmt::format("{}\"{} {}\"", patterns.empty() ? "" : " | ", command.name, flag.name);
    }
  });
  return cases;
}

/// What follows a flag: nothing, one of its words, a name of the catalog or a file, or a file.
std::string fish_value(const CommandTree& command, const FlagEntry& flag) {
  if (flag.value.empty()) return "";
  const std::string list = catalog_list_of(command, flag);
  if (!list.empty()) return fmt::format(" -r -a '{}'", listing("kumihimo", list, '"'));
  const std::vector<std::string> choices = choices_of(flag);
  return choices.empty() ? " -r" : fmt::format(" -x -a '{}'", fmt::join(choices, " "));
}

}  // namespace

std::string bash_completion(const CommandTree& program) {
  std::string cases, values;
  for_each_command(program, [&](const CommandTree& command) {
    std::vector<std::string> words = command_names(command);
    for (const std::string& name : flag_names(command)) words.push_back(name);
    const std::string positional = positional_words(
        command, [](const std::string& list) { return "$" + listing(bash_program, list); });
    if (!positional.empty()) words.push_back(positional);
    cases += fmt::format("    \"{}\") known=\"{}\" ;;\n", command.name, fmt::join(words, " "));
  });
  for (const auto& [words, patterns] : value_cases(program, bash_program)) {
    values += fmt::format("    {}) known=\"{}\" ;;\n", patterns, words);
  }
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
  case "$command ${{COMP_WORDS[COMP_CWORD-1]}}" in
{}  esac
  COMPREPLY=($(compgen -W "$known" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _kumihimo kumihimo
)",
                     command_patterns(program), cases, values);
}

std::string zsh_completion(const CommandTree& program) {
  std::string cases, positionals;
  for_each_command(program, [&](const CommandTree& command) {
    const std::string words = positional_words(
        command, [](const std::string& list) { return "$" + listing("$words[1]", list); });
    if (!words.empty()) {
      positionals +=
          fmt::format("    (\"{}\") compadd -- ${{=:-{}}} && found=1 ;;\n", command.name, words);
    }
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
  std::string values;
  for (const auto& [words, patterns] : value_cases(program, "$words[1]")) {
    values += words.empty() ? fmt::format("    ({}) _files; return ;;\n", patterns)
                            : fmt::format("    ({}) compadd -- ${{=:-{}}} || _files; return ;;\n",
                                          patterns, words);
  }
  return fmt::format(R"(#compdef kumihimo
# zsh completion for kumihimo; made by `kumihimo completion zsh`
_kumihimo() {{
  local command=kumihimo i found=0
  local -a entries
  for ((i = 2; i < CURRENT; i++)); do
    case "$command $words[i]" in
      ({}) command="$command $words[i]" ;;
    esac
  done
  case "$command" in
{}  esac
  case "$command $words[CURRENT-1]" in
{}  esac
  case "$command" in
{}  esac
  _describe -o kumihimo entries || ((found)) || _files
}}
_kumihimo "$@"
)",
                     command_patterns(program), cases, values, positionals);
}

std::string fish_completion(const CommandTree& program) {
  std::string text = "# fish completion for kumihimo; made by `kumihimo completion fish`\n";
  for_each_command(program, [&](const CommandTree& command) {
    const std::string begin = fmt::format("complete -c kumihimo -n '{}'", fish_seen(command));
    for (const CommandTree& child : command.commands) {
      text += fmt::format("{} -f -a {} -d {}\n", begin, child.word(), quoted(child.summary, "\\'"));
    }
    const std::string words = positional_words(
        command, [](const std::string& list) { return listing("kumihimo", list, '"'); });
    if (!words.empty()) text += fmt::format("{} -f -a '{}'\n", begin, words);
    for (const FlagEntry& flag : command.flags) {
      if (flag.positional) continue;
      text += fmt::format("{} -l {}{} -d {}\n", begin, flag.name.substr(2),
                          fish_value(command, flag), quoted(flag.help, "\\'"));
    }
  });
  return text;
}

}  // namespace kumihimo
