#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "engine/training_options.hpp"

namespace kumihimo {

/// What must stay the same while a run is stopped and resumed, as JSON: the model's shape, the
/// sequences and their order, the kind of optimizer. Its keys stand in docs/saved-state.md.
std::string run_identity(const TrainingOptions& options, std::string_view data);

/// How these options differ from a saved identity: one Error for each flag, with what mends it.
/// `state`: the path of the state that has it, for the message.
Errors identity_faults(std::string_view saved, std::string_view state,
                       const TrainingOptions& options, std::string_view data);

}  // namespace kumihimo
