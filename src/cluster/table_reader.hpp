#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <toml++/toml.h>
#include <vector>

#include "base/error.hpp"
#include "base/shown_text.hpp"
#include "base/units.hpp"

// Costly to include: for .cpp files that read TOML.

namespace kumihimo {

/// The amounts that a key accepts and how one writes them. The bounds are wide: they keep later
/// arithmetic finite and catch a wrong unit, no more.
struct Amount {
  Dimension dimension;
  double least;
  double most;
  std::string_view range;    ///< "0s to 10s"
  std::string_view example;  ///< "2us"
};

enum class Presence { required, optional };

/// The TOML document of a user's file. `what` it is ("a cluster file") and `document` that shows
/// its form ("docs/clusters.md") are for messages. Refuses a text that no such file needs: over 256
/// KiB, or with thousands of dots, since toml++ bounds nested arrays and tables but recurses
/// without bound over "a.a.a...".
Expected<toml::table> parse_toml(std::string_view text, std::string_view where,
                                 std::string_view what, std::string_view document);

inline constexpr std::size_t largest_toml_file = 256 << 10;

/// Reads one TOML table key by key and collects the faults, each with file and dotted key. It
/// remembers what it was asked for: any other key of the table is unknown. A key at fault reads as
/// absent.
class TableReader {
 public:
  /// `table` may be null: every required key below it is then reported as missing. `faults` may be
  /// null: nothing is reported.
  TableReader(const toml::table* table, std::string prefix, std::string_view where, Errors* faults);

  /// The table below `key`; an empty one if it is absent.
  TableReader child(std::string_view key);
  /// The tables of the array of tables below `key`.
  std::vector<TableReader> children(std::string_view key);

  std::optional<double> quantity(std::string_view key, const Amount& amount, Presence presence);
  /// The same of an amount of money, with its currency.
  std::optional<Money> money(std::string_view key, const Amount& amount, Presence presence);
  /// A bare number, whole or decimal, from `least` to `most`.
  std::optional<double> number(std::string_view key, double least, double most, Presence presence);
  std::optional<std::int64_t> whole(std::string_view key, std::int64_t least, std::int64_t most,
                                    Presence presence);
  /// A required whole number from 1 to `most`.
  std::optional<std::int64_t> count(std::string_view key, std::int64_t most) {
    return whole(key, 1, most, Presence::required);
  }
  std::optional<bool> truth(std::string_view key, Presence presence);
  std::string text(std::string_view key, Presence presence);
  std::vector<std::string> texts(std::string_view key, Presence presence);

  /// To be called when everything has been asked for.
  void refuse_unknown_keys();

  /// Adds a fault of `key`.
  void fault(std::string_view key, std::string what, std::string fix);

 private:
  const toml::node* find(std::string_view key);
  /// The same; a required key that is absent is a fault.
  const toml::node* find(std::string_view key, Presence presence, const std::string& advice);
  std::vector<const toml::node*> elements(std::string_view key, Presence presence,
                                          const std::string& advice);
  std::string checked_text(std::string_view key, const toml::node& node);
  std::string name_of(std::string_view key) const;

  const toml::table* table_;
  std::string prefix_;
  std::string_view where_;
  Errors* faults_;
  std::vector<std::string> asked_;
};

}  // namespace kumihimo
