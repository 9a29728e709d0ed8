#include "cli/command_tree.hpp"

#include <CLI/CLI.hpp>

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

}  // namespace kumihimo
