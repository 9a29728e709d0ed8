#include <fmt/format.h>

#include "cli/completion.hpp"
#include "cli/version.hpp"

namespace kumihimo {
namespace {

/// Text with roff's own characters made harmless, line by line.
std::string escaped(std::string_view text) {
  std::string result;
  bool line_start = true;
  for (const char c : text) {
    if (line_start && (c == '.' || c == '\'')) result += "\\&";
    if (c == '\\') {
      result += "\\e";
    } else if (c == '-') {
      result += "\\-";
    } else {
      result += c;
    }
    line_start = c == '\n';
  }
  return result;
}

std::string flag_text(const FlagEntry& flag) {
  std::string term = "\\fB" + escaped(flag.name) + "\\fR";
  if (!flag.short_name.empty()) term = "\\fB" + escaped(flag.short_name) + "\\fR, " + term;
  if (!flag.value.empty() && !flag.positional) term += " \\fI" + escaped(flag.value) + "\\fR";
  return ".TP\n" + term + "\n" + escaped(flag.help) + "\n";
}

std::string command_text(const CommandTree& command) {
  std::string text = fmt::format(".SS {}\n{}\n", escaped(command.name), escaped(command.summary));
  for (const FlagEntry& flag : command.flags) text += flag_text(flag);
  if (!command.example.empty()) {
    text += ".PP\nExample:\n.PP\n.nf\n" + escaped(command.example) + "\n.fi\n";
  }
  for (const CommandTree& child : command.commands) text += command_text(child);
  return text;
}

constexpr std::string_view exit_status = R"(.SH EXIT STATUS
.TP
.B 0
done
.TP
.B 1
a check that was asked for failed
.TP
.B 2
bad input; every fault is named on standard error and nothing is written
.TP
.B 3
out of memory, by prediction
.TP
.B 4
the environment failed: disk, memory
.TP
.B 130
interrupted by Ctrl-C, SIGTERM or SIGHUP; the best result so far was printed
)";

}  // namespace

std::string manual_page(const CommandTree& program) {
  std::string text = fmt::format(
      ".TH KUMIHIMO 1 \"\" \"kumihimo {}\"\n.SH NAME\nkumihimo \\- {}\n.SH SYNOPSIS\n"
      ".B kumihimo\n.I command\n[\\fIflags\\fR]\n.SH COMMANDS\n",
      program_version, escaped(program.summary));
  for (const CommandTree& command : program.commands) text += command_text(command);
  text += ".SH FLAGS\n";
  for (const FlagEntry& flag : program.flags) text += flag_text(flag);
  text += exit_status;
  text += ".SH ENVIRONMENT\n.TP\n.B NO_COLOR\nif set, nothing is coloured\n";
  return text;
}

}  // namespace kumihimo
