#pragma once

#include <cstdint>
#include <string>

namespace kumihimo {

/// A process of this machine, told from a later one that was given the same number.
struct ProcessIdentity {
  std::int64_t pid = 0;
  std::int64_t start_ticks = 0;  ///< clock ticks between the start of the system and its own
  std::string host;              ///< host name and boot of the system: "node7/4f2c..."

  bool operator==(const ProcessIdentity&) const = default;
};

enum class Liveness { alive, dead, elsewhere };

ProcessIdentity this_process();

/// The process that has the number now; start_ticks 0 where there is none.
ProcessIdentity process_of(std::int64_t pid);

/// elsewhere: it runs, or ran, on another machine, which cannot be asked. A process of this machine
/// before its last start is dead, and so is one that waits to be collected by its parent.
Liveness liveness(const ProcessIdentity& process);

}  // namespace kumihimo
