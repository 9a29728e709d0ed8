#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "cli/terminal.hpp"
#include "sweep/session.hpp"

namespace kumihimo {

/// A sweep, or what a store tells of one.
struct SweepView {
  std::string study;
  std::string settings;  ///< JSON
  std::vector<Trial> trials;
  double spent_s = 0;
  double trial_s = 0;  ///< of it, in trials
};

/// Trials as a table: layout, state, step time and MFU against the forecast. The fastest first,
/// then those that did not run; at most `most` rows. Says where step times are not measured.
std::string trials_table(std::span<const Trial> trials, std::size_t most);

/// "tp 2 · pp 1 · ... recompute full": what tells layouts of one sweep apart.
std::string trial_layout(const Trial& trial);

/// `clock`: of the trials.
std::string conclusion_text(const Conclusion& conclusion, const Candidate* best, TrialClock clock);
nlohmann::ordered_json conclusion_json(const Conclusion& conclusion, const Candidate* best);
nlohmann::ordered_json trial_json(const Trial& trial);

}  // namespace kumihimo
