#pragma once

#include <vector>

#include "advise/option_values.hpp"

namespace kumihimo {

/// Every machine that hardware options lead to, the user's own first: all compatible combinations
/// (no two options change the same thing), or each option alone. Faster than stated never becomes
/// slower: a bought link or memory replaces a lesser one only.
std::vector<Machine> machines_of(const AdviceRequest& request, bool combined);

/// Why an option changes nothing.
enum class NoChange : std::uint8_t {
  none,        ///< it changes something
  already_so,  ///< the user has it
  no_upgrade,  ///< a device that is no faster and no larger
  no_price,    ///< a device that nobody has priced, where the goal is cost
  impossible,  ///< its values do not run in the layout as it is
};

/// Whether a hardware option changes anything about the user's machine.
NoChange machine_change(const UpgradeOption& option, const AdviceRequest& request);

}  // namespace kumihimo
