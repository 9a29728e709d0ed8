#include "base/process_identity.hpp"

#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <sstream>
#include <unistd.h>

namespace kumihimo {
namespace {

std::string host_name() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

std::string this_host() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string boot;
  std::getline(file, boot);
  return host_name() + "/" + boot;
}

}  // namespace

ProcessIdentity process_of(std::int64_t pid) {
  ProcessIdentity process{.pid = pid, .host = this_host()};
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  // The second field, the name in brackets, may hold blanks and brackets.
  const std::size_t end_of_name = text.rfind(')');
  if (end_of_name == std::string::npos) return process;
  std::istringstream fields(text.substr(end_of_name + 1));
  std::string state, skipped;
  fields >> state;
  constexpr int fields_before_start = 18;  // from the fourth to the twenty-first: proc(5)
  for (int i = 0; i < fields_before_start; ++i) fields >> skipped;
  std::int64_t start = 0;
  if (fields >> start && state != "Z" && state != "X") process.start_ticks = start;
  return process;
}

ProcessIdentity this_process() { return process_of(getpid()); }

Liveness liveness(const ProcessIdentity& process) {
  const std::string here = this_host();
  if (process.host.substr(0, process.host.find('/')) != here.substr(0, here.find('/'))) {
    return Liveness::elsewhere;
  }
  return process.start_ticks != 0 && process_of(process.pid) == process ? Liveness::alive
                                                                        : Liveness::dead;
}

}  // namespace kumihimo
