#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.hpp"

namespace kumihimo {

/// One fault in what the user gave: where it stands, what is wrong (with the offending value), and
/// how to mend it. Printed as "where: what; fix".
struct Error {
  std::string where;  ///< "config.json: hidden_size", "--tp", "mine.toml: device.memory"
  std::string what;   ///< "is -4; a positive whole number is needed"
  std::string fix;    ///< "give --tp a divisor of 40"; may be empty
};

/// All the faults found in one pass: users see them together.
using Errors = std::vector<Error>;

/// "where: what; fix", one line per error, each ended by a newline.
std::string to_string(const Errors& errors);

/// A value, or the reasons why there is none. (std::expected is C++23.)
template <class T>
class [[nodiscard]] Expected {
 public:
  Expected(T value) : state_(std::move(value)) {}
  Expected(Error error) : state_(Errors{std::move(error)}) {}
  Expected(Errors errors) : state_(std::move(errors)) {
    KUMIHIMO_CHECK(!std::get<Errors>(state_).empty());
  }

  bool has_value() const { return std::holds_alternative<T>(state_); }
  explicit operator bool() const { return has_value(); }

  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Errors& errors() const {
    KUMIHIMO_CHECK(!has_value());
    return std::get<Errors>(state_);
  }

 private:
  T& value() {
    KUMIHIMO_CHECK(has_value());
    return std::get<T>(state_);
  }
  const T& value() const {
    KUMIHIMO_CHECK(has_value());
    return std::get<T>(state_);
  }

  std::variant<T, Errors> state_;
};

/// Moves the faults of `source` (if any) to the end of `all`.
template <class T>
void collect(Errors& all, const Expected<T>& source) {
  if (!source) all.insert(all.end(), source.errors().begin(), source.errors().end());
}

}  // namespace kumihimo
