#include "cli/terminal.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace kumihimo {
namespace {

constexpr int narrowest = 40;

std::string styled(std::string_view text, std::string_view code, const Terminal& terminal) {
  if (!terminal.colours) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

}  // namespace

Terminal terminal_of(std::FILE* stream) {
  Terminal terminal;
  if (isatty(fileno(stream)) == 0) return terminal;
  const char* no_color = std::getenv("NO_COLOR");
  const char* kind = std::getenv("TERM");
  const bool dumb = kind != nullptr && std::strcmp(kind, "dumb") == 0;
  // no-color.org: set and not empty.
  terminal.colours = !dumb && (no_color == nullptr || *no_color == '\0');
  terminal.progress = !dumb;
  winsize size{};
  if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col >= narrowest) {
    terminal.width = size.ws_col;
    terminal.wrap_width = size.ws_col;
  }
  return terminal;
}

std::string bold(std::string_view text, const Terminal& terminal) {
  return styled(text, "1", terminal);
}

std::string heading(std::string_view text, const Terminal& terminal) {
  return "\n" + bold(text, terminal) + "\n";
}

std::string faint(std::string_view text, const Terminal& terminal) {
  return styled(text, "2", terminal);
}

ExitCode print(std::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (written && std::fflush(stdout) == 0) return ExitCode::done;
  print_errors({{"standard output", fmt::format("cannot be written ({})", std::strerror(errno)),
                 "make room on the disk that it goes to"}});
  return ExitCode::environment;
}

void print_errors(const Errors& errors) {
  for (const Error& error : errors) {
    const std::string line = "kumihimo: " + to_string(Errors{error});
    std::fwrite(line.data(), 1, line.size(), stderr);
  }
}

ExitCode refuse(const Errors& errors) {
  print_errors(errors);
  return ExitCode::bad_input;
}

}  // namespace kumihimo
