#pragma once

#include <span>

#include "report/messages.hpp"

// The parts of messages(), by where they are shown.

namespace kumihimo {

std::span<const Wording> advise_messages();
std::span<const Wording> page_messages();
std::span<const Wording> catalog_messages();  ///< what catalog/upgrades says, by its English text
std::span<const Wording> fault_messages();  ///< why layouts are impossible, by their English phrase

}  // namespace kumihimo
