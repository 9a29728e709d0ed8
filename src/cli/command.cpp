#include "cli/command.hpp"

#include <CLI/CLI.hpp>

namespace kumihimo {

Flags& add_command(CLI::App& parent, CommandResult& result, const CommandText& text,
                   CommandAction action) {
  CLI::App* app = parent.add_subcommand(std::string(text.name), std::string(text.summary));
  // Unknown flags and commands are collected, so that they are reported with the other faults.
  app->allow_extras();
  app->require_subcommand(0, 1);
  app->set_help_flag();
  app->footer(std::string(text.example));
  auto flags = std::make_shared<Flags>(*app);
  result.commands.push_back({app, flags, std::move(action)});
  return *flags;
}

void hide_command(const Flags& flags) { flags.app().group(""); }

}  // namespace kumihimo
