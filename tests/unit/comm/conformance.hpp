#pragma once

#include <ostream>
#include <span>
#include <string_view>

#include "comm/world.hpp"

// What world.hpp and process_group.hpp promise, for every back end. Ranks may be threads or
// processes, hence no test framework: a check that fails throws and says what it saw.

namespace kumihimo {

/// Called by all ranks of a job, of any number.
struct ConformanceCheck {
  std::string_view name;
  void (*run)(World& world);

  friend void PrintTo(const ConformanceCheck& check, std::ostream* out) { *out << check.name; }
};

std::span<const ConformanceCheck> conformance_checks();

}  // namespace kumihimo
