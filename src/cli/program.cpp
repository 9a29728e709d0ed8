#include "cli/program.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <exception>
#include <fmt/format.h>

#include "base/suggest.hpp"
#include "cli/advise_command.hpp"
#include "cli/calibrate_command.hpp"
#include "cli/catalog_command.hpp"
#include "cli/command.hpp"
#include "cli/command_tree.hpp"
#include "cli/completion_command.hpp"
#include "cli/explain_command.hpp"
#include "cli/interactions_command.hpp"
#include "cli/manual_command.hpp"
#include "cli/plan_command.hpp"
#include "cli/replay_command.hpp"
#include "cli/report_command.hpp"
#include "cli/status_command.hpp"
#include "cli/store_command.hpp"
#include "cli/sweep_command.hpp"
#include "cli/terminal.hpp"
#include "cli/train_command.hpp"
#include "cli/validate_command.hpp"
#include "cli/version.hpp"

namespace kumihimo {
namespace {

/// Every command of the program, in the order of --help.
constexpr std::array commands{register_plan,         register_explain,  register_advise,
                              register_report,       register_validate, register_calibrate,
                              register_sweep,        register_status,   register_replay,
                              register_interactions, register_store,    register_train,
                              register_models,       register_clusters, register_stacks,
                              register_completion,   register_manual};

constexpr std::string_view example =
    R"(  kumihimo plan --model llama-13b --cluster a100-80gb-sxm --gpus 64
      the best layouts of LLaMA 13B on 64 A100
  kumihimo plan --help
      every flag of plan, with an example)";

void set_up(CLI::App& program, CommandResult& result) {
  program.name("kumihimo");
  program.set_help_flag();
  const std::string help = "print this help", version = "print the version";
  program.add_flag("-h,--help", help);
  program.add_flag("--version", version);
  program.footer(std::string(example));
  program.allow_extras();
  program.require_subcommand(0, 1);
  for (const auto& register_command : commands) register_command(program, result);
}

/// The command that the arguments name, at any depth; the program itself if none.
CLI::App& named_command(CLI::App& program) {
  CLI::App* app = &program;
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  return *app;
}

/// The flag that was most likely meant, if any, and where to read about them all: their list would
/// fill the screen.
std::string flag_advice(const std::string& flag, const CommandTree& command) {
  const std::vector<std::string> known = flag_names(command);
  const std::string help = fmt::format("see `{} --help`", command.name);
  const auto longer = std::ranges::find_if(
      known, [&](const std::string& name) { return flag.size() > 3 && name.starts_with(flag); });
  if (longer != known.end()) return fmt::format("did you mean \"{}\"? {}", *longer, help);
  const std::string advice = suggest(flag, known);
  const std::size_t question = advice.find("? ");
  return question == std::string::npos ? help : advice.substr(0, question + 2) + help;
}

/// Faults of the words that the command did not know.
Errors unknown_words(const CLI::App& app) {
  Errors faults;
  const CommandTree command = read_command_tree(app);
  const std::vector<std::string> words = app.remaining();
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string word = words[i].substr(0, words[i].find('='));
    if (word.starts_with("-") && word.size() > 1) {
      faults.push_back({word.substr(0, 60), "is not a flag of `" + command.name + "`",
                        flag_advice(word, command)});
      // What follows is most likely its value.
      if (i + 1 < words.size() && !words[i + 1].starts_with("-")) ++i;
    } else if (!command.commands.empty()) {
      faults.push_back({word.substr(0, 60), "is not a command of `" + command.name + "`",
                        suggest(word, command_names(command))});
      break;  // its flags are unknown with it
    } else {
      faults.push_back(
          {word.substr(0, 60), "belongs to no flag", fmt::format("see `{} --help`", command.name)});
    }
  }
  return faults;
}

/// Lets the parser sort the arguments; returns what it could not.
Errors parse(CLI::App& program, int argc, char** argv) {
  Errors faults;
  try {
    program.parse(argc, argv);
  } catch (const CLI::ArgumentMismatch&) {
    faults.push_back({argv[argc - 1], "has no value", "write one after it"});
  } catch (const CLI::ParseError& error) {
    faults.push_back({"command line", error.what(), "see `kumihimo --help`"});
  }
  for (const CLI::App* app = &named_command(program); app != nullptr; app = app->get_parent()) {
    const Errors unknown = unknown_words(*app);
    faults.insert(faults.end(), unknown.begin(), unknown.end());
  }
  return faults;
}

ExitCode run_command(const CLI::App& app, const CommandResult& result, const Errors& faults) {
  const auto command = std::ranges::find(result.commands, &app, &RegisteredCommand::app);
  if (command != result.commands.end()) return command->action(*command->flags, faults);
  if (!faults.empty()) return refuse(faults);
  return refuse({{"command line", "names no command", "see `kumihimo --help`"}});
}

ExitCode run(int argc, char** argv) {
  CLI::App program("Plans, explains and runs the training of large language models");
  CommandResult result;
  set_up(program, result);
  const Errors faults = parse(program, argc, argv);
  const CLI::App& named = named_command(program);
  if (named.count("--help") > 0) return print(help_text(read_command_tree(named)));
  if (program.count("--version") > 0) return print(fmt::format("kumihimo {}\n", program_version));
  return run_command(named, result, faults);
}

}  // namespace

int run_program(int argc, char** argv) {
  ExitCode code = ExitCode::environment;
  try {
    code = run(argc, argv);
  } catch (const std::bad_alloc&) {
    print_errors({{"memory", "this machine has too little for the job", ""}});
  } catch (const std::exception& error) {
    print_errors({{"", error.what(), ""}});
  }
  return static_cast<int>(code);
}

}  // namespace kumihimo
