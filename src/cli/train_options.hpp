#pragma once

#include <optional>

#include "cli/flags.hpp"
#include "cli/training_request.hpp"

namespace kumihimo {

/// Every flag of `kumihimo train`.
void add_train_flags(Flags& flags);

/// Reads and judges them all: what is returned can be trained, if data and memory allow. `ranks`:
/// how many there are under a launcher; nothing where the layout decides.
std::optional<TrainingRequest> read_train_flags(const Flags& flags, Errors& faults,
                                                std::optional<int> ranks);

/// What --ranks says; under a launcher mpi or tcp is the default.
RankKind read_rank_kind(const Flags& flags, Errors& faults);
double read_rendezvous_timeout(const Flags& flags, Errors& faults);

}  // namespace kumihimo
