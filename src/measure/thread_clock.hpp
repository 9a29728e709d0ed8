#pragma once

#include <time.h>

namespace kumihimo {

/// Processor time of the calling thread in seconds: what one-thread work takes on a machine of its
/// own, whoever else is busy on this one.
inline double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace kumihimo
