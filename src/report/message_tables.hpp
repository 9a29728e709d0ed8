#pragma once

#include <span>

#include "report/messages.hpp"

// The parts of messages(), by where they are shown.

namespace kumihimo {

std::span<const Message> advise_messages();
std::span<const Message> catalog_messages();  ///< what catalog/upgrades says, by its English text

}  // namespace kumihimo
