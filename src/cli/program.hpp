#pragma once

namespace kumihimo {

/// Runs the command that the arguments name; returns the exit code: 0 done, 1 a requested check
/// failed, 2 bad input, 3 out of memory by plan, 4 the environment failed, 130 interrupted (Ctrl-C,
/// SIGTERM, SIGHUP).
int run_program(int argc, char** argv);

}  // namespace kumihimo
