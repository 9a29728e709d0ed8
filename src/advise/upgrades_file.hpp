#pragma once

#include <string_view>

#include "advise/upgrade_option.hpp"
#include "base/error.hpp"

namespace kumihimo {

/// The options of a TOML text (docs/advise.md lists the keys), joined to those of `base`: an option
/// of the same name replaces what it states and keeps the rest, `leave_out` drops options. All
/// faults at once, each with file and key: unknown and missing keys, values without unit, an option
/// that changes nothing, a name given twice, two options that open the same value.
Expected<Upgrades> parse_upgrades(std::string_view text, std::string_view where,
                                  const Upgrades& base = {});

/// The catalog's options: knobs and software with the effort of each, and hardware.
Expected<Upgrades> default_upgrades();

/// The user's file on top of them.
Expected<Upgrades> read_upgrades(std::string_view path);

}  // namespace kumihimo
