#pragma once

#include <stdexcept>
#include <string>

namespace kumihimo {

/// A broken invariant of the program itself, never of its input. On in release builds too.
class InvariantError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] inline void fail_check(const char* condition, const char* file, int line) {
  throw InvariantError(std::string("internal error: ") + condition + " does not hold at " + file +
                       ":" + std::to_string(line) + "; please report it");
}

}  // namespace kumihimo

#define KUMIHIMO_CHECK(condition) \
  ((condition) ? void(0) : ::kumihimo::fail_check(#condition, __FILE__, __LINE__))
