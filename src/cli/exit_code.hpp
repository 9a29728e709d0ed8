#pragma once

namespace kumihimo {

enum class ExitCode : int {
  done = 0,
  check_failed = 1,  ///< a check that the user asked for, such as --max-mape
  bad_input = 2,
  does_not_fit = 3,   ///< what was asked for runs out of memory; of plans by prediction
  environment = 4,    ///< disk, memory, a failed write, a rank that died, a loss that is no number
  interrupted = 130,  ///< by Ctrl-C, SIGTERM or SIGHUP, after what was under way was kept
};

}  // namespace kumihimo
