#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "cli/job_options.hpp"
#include "layout/parallel_layout.hpp"

// A layout that a flag states, as explain's --layout and advise's --current do.

namespace kumihimo {

/// The devices that the layout takes, where it states dp and thus all degrees. Collects the text's
/// faults.
std::optional<std::int64_t> devices_stated(const std::string& text, Errors& faults);

/// The layout, whole: what the text leaves open is set as the stack does it, which is added to the
/// job's assumptions; dp follows from the devices. A text that to_text() made is that layout again.
/// Whether it suits the job is for faults() to say.
std::optional<ParallelLayout> whole_layout(std::string_view flag, const std::string& text,
                                           PlannedJob& planned, Errors& faults);

}  // namespace kumihimo
