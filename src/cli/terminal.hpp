#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "cli/exit_code.hpp"

namespace kumihimo {

/// What a stream can show. A pipe or file is plain: no colours, no progress, 100 columns.
struct Terminal {
  bool colours = false;  ///< a terminal, and NO_COLOR is not set
  bool progress = false;
  int width = 100;
  int wrap_width = 0;  ///< of a terminal, which breaks longer lines anywhere; 0: nothing does
};

Terminal terminal_of(std::FILE* stream);

/// `text` in bold, or dimmed, where the terminal has colours.
std::string bold(std::string_view text, const Terminal& terminal);
std::string faint(std::string_view text, const Terminal& terminal);
/// `text` in bold on a line of its own, after an empty one.
std::string heading(std::string_view text, const Terminal& terminal);

/// Writes to stdout: done, or environment (said on stderr) if that fails, as on a full disk.
[[nodiscard]] ExitCode print(std::string_view text);

/// Prints one line per fault on stderr: "kumihimo: where: what; fix".
void print_errors(const Errors& errors);

/// Prints the faults and returns bad_input.
[[nodiscard]] ExitCode refuse(const Errors& errors);

}  // namespace kumihimo
