#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {

/// Reads a layout such as "tp=8 pp=8 dp=2 micro-batch=1 recompute=full attention=flash1 sp=true".
/// Settings are separated by spaces or commas; what is left out keeps ParallelLayout's default,
/// except that vpp above 1 implies schedule=interleaved.
/// Keys: tp pp dp cp micro-batch schedule vpp recompute sp zero zero-group attention norm precision
/// gradient-dtype overlap-dp overlap-tp offload ("optimizer+activations+weights" or "none") and
/// layers (layers of each virtual stage: "7/8/8/7").
/// All faults are reported at once: unknown keys and values with the nearest known one, numbers
/// that are none or beyond max_degree, keys given twice. Whether the layout suits a job is for
/// faults() to say.
Expected<ParallelLayout> parse_layout(std::string_view text);

/// The text that parse_layout reads back as the same layout. Axes, schedule, kernels, precision,
/// recompute, sp and zero are always named, other settings where they differ from the default.
std::string to_text(const ParallelLayout& layout);

/// "optimizer+weights", or "none".
std::string to_text(const Offload& offload);

/// "tp 2 · pp 2 · dp 16 · mb 1", with cp and vpp where they are not 1: for rows of a table.
std::string short_text(const ParallelLayout& layout);

}  // namespace kumihimo
