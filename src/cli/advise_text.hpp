#pragma once

#include <string>
#include <vector>

#include "advise/advice.hpp"
#include "cli/advise_options.hpp"
#include "cli/terminal.hpp"
#include "report/messages.hpp"

namespace kumihimo {

/// The advice for people: where they are, the steps in order with layout, cost and trial, each
/// option alone, who gained what, and how good the order is.
std::string advise_text(const AdviseQuestion& question, const Advice& advice, Language language,
                        const Terminal& terminal);

/// "+42.1 % speed", or "29.6 % cheaper" where cost is the goal.
std::string step_gain_text(double gain, AdviceGoal goal, Language language);

/// "3.2 days off the run", or more of them.
std::string days_text(double days_saved, Language language);

/// "costs 250 k USD", and after how long that has paid, in sentences of their own.
std::vector<std::string> cost_parts(const AdviceStep& step, const Advice& advice,
                                    Language language);

/// "recompute with flash2".
std::string option_names(const std::vector<std::size_t>& options, const AdviceRequest& request,
                         Language language);

/// A remark on an option: that it is so already, or what proves its precision; often empty.
std::string option_note(const OptionGain& gain, const AdviseQuestion& question,
                        const Advice& advice, Language language);

}  // namespace kumihimo
