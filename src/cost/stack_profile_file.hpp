#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "cost/stack_profile.hpp"

namespace kumihimo {

/// The stack profile that a TOML text describes: name, description, origin, cluster, [defaults],
/// one table for each group of profile_parameters() ("rates.loss" is `loss` in [rates]) and
/// [errors]; [spread] and [[evidence]] may follow. Shares are bare numbers within their bounds,
/// durations and memory carry units. A file names every one of them, unless `base` names a profile
/// of the catalog whose values stand where the file states none; evidence and spreads, which tell
/// of the values as they were fitted, are never taken over from it.
/// All faults at once, each with its dotted key. `where` names the file in messages.
Expected<StackProfile> parse_stack_profile(std::string_view text, std::string_view where);

/// A stack profile by path (an existing file, or anything with a '/' or ending in .toml) or by
/// catalog name. An unknown name gives the nearest known one.
Expected<StackProfile> read_stack_profile(std::string_view name_or_path);

/// TOML text that parse_stack_profile reads back to the same value, each parameter with its meaning
/// as a comment. Requires values within their bounds.
std::string write_stack_profile(const StackProfile& profile);

}  // namespace kumihimo
