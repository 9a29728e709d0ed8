#include "cli/command_tree.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>

namespace kumihimo {
namespace {

FlagEntry entry_of(const CLI::Option& option) {
  FlagEntry entry;
  entry.positional = option.get_lnames().empty();
  entry.name = entry.positional ? option.get_name(true) : "--" + option.get_lnames().front();
  if (!option.get_snames().empty()) entry.short_name = "-" + option.get_snames().front();
  if (option.get_items_expected_max() > 0) entry.value = option.get_type_name();
  if (option.get_expected_max() > 1) entry.value += "...";
  entry.help = option.get_description();
  entry.group = option.get_group();
  return entry;
}

CommandTree read(const CLI::App& app, const std::string& name) {
  CommandTree tree{name, app.get_description(), app.get_footer(), {}, {}};
  for (const CLI::Option* option : app.get_options()) tree.flags.push_back(entry_of(*option));
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    // A command without a group is hidden.
    if (!command->get_group().empty()) {
      tree.commands.push_back(read(*command, name + " " + command->get_name()));
    }
  }
  return tree;
}

}  // namespace

CommandTree read_command_tree(const CLI::App& app) {
  std::string name = app.get_name();
  for (const CLI::App* parent = app.get_parent(); parent != nullptr; parent = parent->get_parent())
    name = parent->get_name() + " " + name;
  return read(app, name);
}

std::vector<std::string> choices_of(const FlagEntry& flag) {
  if (flag.value.empty()) return {};
  const bool in_value = flag.value.find('|') != std::string::npos;
  std::string text = in_value ? flag.value : flag.help;
  for (std::size_t begin = text.find(" ("); begin != std::string::npos; begin = text.find(" (")) {
    const std::size_t end = text.find(')', begin);
    text.erase(begin, end == std::string::npos ? end : end + 1 - begin);
  }
  if (const std::size_t colon = text.rfind(": "); colon != std::string::npos) {
    text.erase(0, colon + 2);
  }
  const std::string_view separator = in_value ? "|" : ", ";
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin != std::string::npos;) {
    const std::size_t end = text.find(separator, begin);
    words.push_back(text.substr(begin, end - begin));
    begin = end == std::string::npos ? end : end + separator.size();
  }
  const auto is_word = [](const std::string& word) {
    return !word.empty() && std::ranges::all_of(word, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    });
  };
  const bool listed = words.size() > 1 && std::ranges::all_of(words, is_word);
  return listed ? words : std::vector<std::string>{};
}

std::string catalog_list_of(const CommandTree& command, const FlagEntry& flag) {
  if (flag.positional) {
    const bool shows = command.word() == "show" && command.name.find(' ') != std::string::npos;
    if (!shows) return "";
    const std::string list = command.name.substr(0, command.name.rfind(' '));
    return list.substr(list.rfind(' ') + 1);
  }
  if (flag.name == "--model") return "models";
  if (flag.name == "--cluster") return "clusters";
  if (flag.name == "--stack" || flag.name == "--base") return "stacks";
  return "";
}

}  // namespace kumihimo
