#include "cli/manual_command.hpp"

#include "cli/command_tree.hpp"
#include "cli/completion.hpp"
#include "cli/terminal.hpp"

namespace kumihimo {

void register_manual(CLI::App& program, CommandResult& result) {
  const Flags& flags = add_command(
      program, result,
      {"manual", "Print the man page", "  kumihimo manual > kumihimo.1\n      roff"},
      [&program](const Flags&, const Errors& faults) {
        return faults.empty() ? print(manual_page(read_command_tree(program))) : refuse(faults);
      });
  hide_command(flags);
}

}  // namespace kumihimo
