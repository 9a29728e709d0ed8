#pragma once

#include <stop_token>

#include "cli/training_reporter.hpp"
#include "cli/training_run.hpp"
#include "comm/world.hpp"

namespace kumihimo {

/// One rank's part of a run, from its first step to its last: called by all ranks of `world`.
/// `stop`, where any rank's is requested, ends all of them after the step under way. `reporter` is
/// told on rank 0 only.
TrainingEnd train_rank(World& world, const TrainingRun& run, const std::stop_token& stop,
                       TrainingReporter* reporter);

}  // namespace kumihimo
