#pragma once

#include "cli/exit_code.hpp"
#include "cli/flags.hpp"

namespace kumihimo {

/// The flags of calibrate --measure.
void add_measure_flags(Flags& flags);

/// Measures this machine and writes cluster file and stack profile.
ExitCode measure_this_machine(const Flags& flags, Errors faults);

}  // namespace kumihimo
