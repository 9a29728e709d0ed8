#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "advise/attribution.hpp"
#include "advise/machines.hpp"
#include "advise/option_values.hpp"
#include "advise/trial.hpp"

namespace kumihimo {

/// One option alone, from the start.
struct OptionGain {
  std::size_t option = 0;
  Outcome kept;         ///< the layout stays: split and micro-batch as they are
  Outcome reoptimised;  ///< split and micro-batch chosen anew
  double kept_gain = 0;
  double reoptimised_gain = 0;
  double cost = 0;
  NoChange no_change = NoChange::none;  ///< why it cannot gain in the layout as it is
  std::string fault;         ///< of its values in that layout, where NoChange::impossible
  std::string fault_phrase;  ///< the same without values, as first_fault puts it
};

/// What a step brings in money and time.
struct Payback {
  double saved_per_step = 0;           ///< money; negative: a step becomes dearer
  std::optional<double> break_even_s;  ///< of training after the change; none: never
  std::optional<double> money_saved;   ///< over the run, the cost of the step not yet subtracted
};

/// One step of the order: an option, or two that gain together only.
struct AdviceStep {
  std::vector<std::size_t> options;
  Outcome before, after;
  double gain = 0;        ///< of the goal, against the state before
  double total_gain = 0;  ///< against the start
  double cost = 0;
  std::optional<Payback> payback;    ///< where device-hours have a price
  std::optional<double> days_saved;  ///< over the run, where its tokens are known
  ConfirmingTrial trial;
};

/// The first steps of the order against every set that costs no more (without costs: of as many
/// options).
struct OrderCheck {
  std::size_t steps = 0;
  double gain = 0;
  double best_gain = 0;
  OptionSet best = 0;
};

struct Advice {
  std::vector<Machine> machines;
  Outcome start;
  bool start_fits = true;
  Outcome relayout;      ///< the best layout with nothing but split and micro-batch chosen anew
  bool by_cost = false;  ///< the order is by gain per cost; false: nothing has a price, gain alone
  std::optional<Currency> currency;  ///< of every amount; none where nothing has a price
  std::vector<OptionGain> options;   ///< in the order of the request
  std::vector<std::size_t> ordered;  ///< options that took part in the order
  std::vector<AdviceStep> steps;
  std::vector<std::size_t> left;  ///< took part, gain nothing worth a step
  bool checked = false;           ///< against all subsets; only up to most_exact_options
  std::vector<OrderCheck> checks;
  Attribution attribution;  ///< of the total gain, over `ordered`
  double total_gain = 0;    ///< with every ordered option
  std::vector<OptionPair> interactions;
};

/// A gain below this is not worth a step.
inline constexpr double worth_a_step = 0.002;

/// What to change first. Greedy: the option with the largest gain per cost next to those already
/// taken, the layout planned anew each time as far as they open it; options without cost come
/// first. Two options are one step where together they gain more per cost (without costs: per
/// option) than any single one, as a new split does that lets recomputation go. Hardware takes part
/// only where costs are stated: by gain alone, whoever doubles the machines comes first. `blocked`:
/// options that must not be taken, such as a precision that failed its comparison. Requires
/// request_faults() to be empty.
Advice advise(const AdviceRequest& request, OptionSet blocked = 0);

}  // namespace kumihimo
