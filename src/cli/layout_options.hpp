#pragma once

#include <optional>

#include "cli/flags.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// --layout, and a flag for each of its settings that the trainer knows: --tp, --pp, ...
void add_layout_flags(Flags& flags);

/// The layout that they name together; nothing if there is a fault, such as a setting given twice.
/// Precision is fp32 unless it is given.
std::optional<ParallelLayout> read_layout_flags(const Flags& flags, Errors& faults);

/// Faults of a layout ("layout: tp") as those of the flags that stand for its settings ("--tp").
Errors at_layout_flags(Errors faults);

}  // namespace kumihimo
