#pragma once

#include <optional>

#include "advise/option_values.hpp"

namespace kumihimo {

/// In which advice counts money: that of every amount that the request states; nothing where it
/// states none.
std::optional<Currency> currency_of(const AdviceRequest& request);

/// Amounts in several currencies: nothing is converted, so they cannot be compared.
Errors currency_faults(const AdviceRequest& request);

}  // namespace kumihimo
