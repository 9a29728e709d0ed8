#pragma once

#include <optional>
#include <stop_token>

#include "cli/exit_code.hpp"
#include "cli/flags.hpp"
#include "cli/training_run.hpp"
#include "engine/compare_precision.hpp"

namespace kumihimo {

/// The flags of `train` that compare two precisions instead of training one.
void add_comparison_flags(Flags& flags);

/// What --compare-precision asks for; nothing where it is not given, or has a fault.
std::optional<PrecisionComparisonOptions> read_comparison(const Flags& flags,
                                                          const TrainingRequest& request,
                                                          Errors& faults);

/// Trains both and prints the verdict: check_failed where the gap is beyond the tolerance. Once
/// `stop` is requested it ends after the step under way, without a verdict.
ExitCode run_comparison(const PrecisionComparisonOptions& comparison, const TrainingRun& run,
                        const std::stop_token& stop);

}  // namespace kumihimo
