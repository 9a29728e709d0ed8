#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace kumihimo {

/// What ConfigFields::whole returns for a number that could not be read: its fault is noted.
/// validate refuses it too, and is not heard a second time.
inline constexpr std::int64_t unreadable = std::numeric_limits<std::int64_t>::min();

/// A JSON value as a message shows it, cut to a readable length.
std::string show(const nlohmann::json& value);

/// One object of a config.json. Reading a key notes a fault in `errors`, at "where: key", if the
/// value is not of the kind asked for, and goes on. A null counts as absent, as in Transformers.
/// The object and `errors` must outlive it.
class ConfigFields {
 public:
  ConfigFields(const nlohmann::json& object, std::string where, std::string prefix, Errors& errors);

  void fault(std::string_view key, std::string what, std::string fix);

  /// The key stands in the file, if only as null.
  bool stated(std::string_view key) const;
  /// The value, or a null pointer if absent.
  const nlohmann::json* find(std::string_view key) const;

  /// `absent` stands for a key that is not there; without it the key is required.
  std::int64_t whole(std::string_view key, std::optional<std::int64_t> absent = std::nullopt);
  double number(std::string_view key, double absent);
  bool flag(std::string_view key, bool absent);
  /// For keys whose default differs between the libraries that read the file.
  bool required_flag(std::string_view key);
  /// An object within this one; an empty one if absent.
  ConfigFields nested(std::string_view key);

  /// Refuses a text that `accepts` does not. `fix` names what would do.
  void require_text(std::string_view key, bool (*accepts)(std::string_view), std::string_view fix);
  void require_off(std::string_view key, std::string_view why);

 private:
  const nlohmann::json& object_;
  std::string where_;
  std::string prefix_;  ///< "attn_config." within that object
  Errors& errors_;
};

}  // namespace kumihimo
