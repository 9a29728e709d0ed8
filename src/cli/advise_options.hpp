#pragma once

#include <optional>
#include <string>
#include <vector>

#include "advise/advice.hpp"
#include "cli/flags.hpp"
#include "cli/job_options.hpp"
#include "cli/precision_evidence.hpp"
#include "report/messages.hpp"

namespace kumihimo {

/// What `advise` is asked.
struct AdviseQuestion {
  PlannedJob planned;
  AdviceRequest request;
  std::optional<PrecisionEvidence> fp8;
  OptionSet blocked = 0;  ///< options whose precision failed its comparison
};

/// --current, --options, --precision-comparison, --goal, and the splits to consider.
void add_advise_flags(Flags& flags);

/// Reads them with the job; nothing if there is a fault. What --current leaves open is as the
/// stack does it.
std::optional<AdviseQuestion> read_advise_question(const Flags& flags, Errors& faults);

void add_language_flag(Flags& flags);
Language read_language(const Flags& flags, Errors& faults);

}  // namespace kumihimo
