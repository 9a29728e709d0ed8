#include "advise/advice.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "advise/currency.hpp"
#include "advise/machines.hpp"
#include "layout/canonical.hpp"
#include "layout/layout_text.hpp"
#include "layout/validate.hpp"

namespace kumihimo {
namespace {

constexpr double seconds_per_day = 86400;

OptionSet bit_of(std::size_t option) { return OptionSet{1} << option; }

class Adviser {
 public:
  Adviser(const AdviceRequest& request, OptionSet blocked)
      : request_(request), values_(request, states_costs(request)) {
    advice_.by_cost = states_costs(request);
    advice_.currency = currency_of(request);
    for (std::size_t i = 0; i < request.options.size(); ++i) {
      if ((blocked >> i & 1) != 0) continue;
      const UpgradeOption& option = request.options[i];
      const bool priced = advice_.by_cost && option.states_price();
      if (option.kind() == OptionKind::hardware && !priced) continue;
      if (machine_change(option, request) != NoChange::none) continue;
      advice_.ordered.push_back(i);
    }
  }

  Advice advise() {
    advice_.machines = values_.machines();
    advice_.start = values_.at(0);
    advice_.start_fits = values_.start_fits();
    advice_.relayout = values_.at(0, true);
    for (std::size_t i = 0; i < request_.options.size(); ++i) {
      advice_.options.push_back(option_gain(i));
    }
    take_steps();
    check();
    const SetValue gain = [this](OptionSet set) { return values_.gain(set); };
    advice_.attribution = shapley(advice_.ordered, gain);
    advice_.interactions = interactions(advice_.ordered, gain);
    advice_.total_gain = values_.gain(all_ordered());
    return std::move(advice_);
  }

 private:
  static bool states_costs(const AdviceRequest& request) {
    return Upgrades{request.prices, request.options}.states_costs();
  }

  OptionSet all_ordered() const {
    OptionSet all = 0;
    for (const std::size_t option : advice_.ordered) all |= bit_of(option);
    return all;
  }

  double cost(std::size_t option) const {
    return cost_of(request_.options[option], request_.prices);
  }

  double cost_of_set(OptionSet set) const {
    double sum = 0;
    for (std::size_t i = 0; i < request_.options.size(); ++i) {
      if ((set >> i & 1) != 0) sum += cost(i);
    }
    return sum;
  }

  OptionGain option_gain(std::size_t option) const {
    OptionGain result{.option = option};
    result.kept = values_.at(bit_of(option));
    result.reoptimised = values_.at(bit_of(option), true);
    result.kept_gain = values_.gain(bit_of(option));
    result.reoptimised_gain = values_.gain(bit_of(option), true);
    result.cost = cost(option);
    result.no_change = machine_change(request_.options[option], request_);
    if (result.no_change == NoChange::none && result.kept_gain <= 0) explain_no_gain(result);
    return result;
  }

  /// Whether the option's own values do not run in the layout as it is, or are there already.
  void explain_no_gain(OptionGain& gain) const {
    const ParallelLayout own = canonical(request_.current);
    for (const Opening& opening : request_.options[gain.option].opens) {
      if (!opening.value) continue;
      ParallelLayout layout = own;
      rule_of(opening.knob).copy(*opening.value, layout);
      layout = canonical(layout);
      const Errors found = faults(layout, request_.job, request_.cluster, request_.devices);
      if (layout == own) {
        gain.no_change = NoChange::already_so;
      } else if (!found.empty()) {
        gain.no_change = NoChange::impossible;
        gain.fault = found.front().what;
        gain.fault_phrase = *first_fault(layout, request_.job, request_.cluster, request_.devices);
      }
    }
  }

  /// What the greedy order compares: gain over cost, or gain where there are no costs.
  struct Rank {
    bool free = false;
    double gain_per_cost = -std::numeric_limits<double>::infinity();

    auto operator<=>(const Rank&) const = default;
  };

  Rank rank(OptionSet taken, OptionSet added) const {
    const double gain = values_.score(taken) / values_.score(taken | added) - 1;
    if (gain < worth_a_step) return {};
    const double money = cost_of_set(added);
    if (advice_.by_cost && money > 0) return {false, gain / money};
    // Per option, or two that gain nothing more together would come before either.
    return {advice_.by_cost, std::pow(1 + gain, 1.0 / std::popcount(added)) - 1};
  }

  /// The best option, or two, to add; 0 where nothing is worth a step.
  OptionSet best_addition(OptionSet taken, const std::vector<std::size_t>& open) const {
    OptionSet best = 0;
    Rank best_rank;
    const auto consider = [&](OptionSet added) {
      const Rank found = rank(taken, added);
      if (best_rank < found) {
        best = added;
        best_rank = found;
      }
    };
    for (const std::size_t option : open) consider(bit_of(option));
    for (std::size_t i = 0; i < open.size(); ++i) {
      for (std::size_t j = i + 1; j < open.size(); ++j) {
        if (gain_only_together(taken, bit_of(open[i]), bit_of(open[j]))) {
          consider(bit_of(open[i]) | bit_of(open[j]));
        }
      }
    }
    return best;
  }

  /// Whether two options gain more together than one after the other: without their interaction
  /// they are steps of their own.
  bool gain_only_together(OptionSet taken, OptionSet a, OptionSet b) const {
    const double before = values_.score(taken);
    const double alone_a = before / values_.score(taken | a);
    const double alone_b = before / values_.score(taken | b);
    const double together = before / values_.score(taken | a | b);
    return together > alone_a * alone_b * (1 + worth_a_step);
  }

  void take_steps() {
    OptionSet taken = 0;
    std::vector<std::size_t> open = advice_.ordered;
    while (!open.empty()) {
      const OptionSet added = best_addition(taken, open);
      if (added == 0) break;
      advice_.steps.push_back(step(taken, added));
      taken |= added;
      std::erase_if(open, [&](std::size_t option) { return (added & bit_of(option)) != 0; });
    }
    advice_.left = open;
  }

  AdviceStep step(OptionSet taken, OptionSet added) const {
    AdviceStep result;
    for (std::size_t i = 0; i < request_.options.size(); ++i) {
      if ((added >> i & 1) != 0) result.options.push_back(i);
    }
    result.before = values_.at(taken);
    result.after = values_.at(taken | added);
    result.gain = result.before.score / result.after.score - 1;
    result.total_gain = values_.gain(taken | added);
    result.cost = cost_of_set(added);
    if (const auto steps = steps_of_run()) {
      result.days_saved =
          *steps *
          (result.before.ranked.prediction.step_s - result.after.ranked.prediction.step_s) /
          seconds_per_day;
    }
    result.payback = payback(result);
    const std::optional<Outcome> kept = with_layout_kept(result.before, result.after);
    result.trial = smallest_trial(request_, values_.machines(), result.before, result.after,
                                  kept ? &*kept : nullptr);
    return result;
  }

  /// The change in the layout of before, where that runs and is not the layout of after.
  std::optional<Outcome> with_layout_kept(const Outcome& before, const Outcome& after) const {
    const ParallelLayout& new_layout = after.ranked.layout;
    const ParallelLayout& old_layout = before.ranked.layout;
    ParallelLayout layout = new_layout;
    const Machine& machine = values_.machines()[after.machine];
    rule_of(OpenedKnob::split).copy(old_layout, layout);
    rule_of(OpenedKnob::micro_batch).copy(old_layout, layout);
    const std::int64_t replica = layout.devices() / layout.data_parallel;
    if (machine.devices % replica != 0) return std::nullopt;
    layout.data_parallel = static_cast<int>(machine.devices / replica);
    layout = canonical(layout);
    if (layout == new_layout || (layout == old_layout && before.machine == after.machine)) {
      return std::nullopt;
    }
    if (!is_valid(layout, request_.job, machine.cluster, machine.devices)) return std::nullopt;
    const Prediction prediction = predict(request_.job, layout, machine.cluster, machine.profile);
    if (prediction.peak_memory_bytes > static_cast<double>(machine.cluster.device.memory)) {
      return std::nullopt;
    }
    return Outcome{after.machine, {layout, prediction}, 0};
  }

  std::optional<double> steps_of_run() const {
    if (!request_.tokens) return std::nullopt;
    const double tokens_per_step = static_cast<double>(request_.job.global_batch_size) *
                                   static_cast<double>(request_.job.seq_length);
    return *request_.tokens / tokens_per_step;
  }

  std::optional<Payback> payback(const AdviceStep& of) const {
    const double after_s = of.after.ranked.prediction.step_s;
    const auto old_cost =
        step_cost_of(values_.machines()[of.before.machine], of.before.ranked.prediction.step_s);
    const auto new_cost = step_cost_of(values_.machines()[of.after.machine], after_s);
    if (!old_cost || !new_cost) return std::nullopt;
    Payback result;
    result.saved_per_step = *old_cost - *new_cost;
    if (result.saved_per_step > 0) {
      result.break_even_s = of.cost / result.saved_per_step * after_s;
    }
    if (const auto steps = steps_of_run()) {
      result.money_saved = *steps * result.saved_per_step;
    }
    return result;
  }

  /// Each beginning of the order against all sets that cost no more.
  void check() {
    const std::vector<std::size_t>& players = advice_.ordered;
    if (players.size() > most_exact_options) return;
    advice_.checked = true;
    for (std::size_t steps = 1; steps <= advice_.steps.size(); ++steps) {
      OptionSet taken = 0;
      std::size_t count = 0;
      for (std::size_t i = 0; i < steps; ++i) {
        for (const std::size_t option : advice_.steps[i].options) {
          taken |= bit_of(option);
          ++count;
        }
      }
      advice_.checks.push_back(best_within(steps, taken, count));
    }
  }

  OrderCheck best_within(std::size_t steps, OptionSet taken, std::size_t count) const {
    const std::vector<std::size_t>& players = advice_.ordered;
    OrderCheck result{steps, values_.gain(taken), values_.gain(taken), taken};
    const double budget = cost_of_set(taken) * (1 + 1e-12);
    for (unsigned dense = 0; dense < 1U << players.size(); ++dense) {
      OptionSet set = 0;
      std::size_t size = 0;
      for (std::size_t i = 0; i < players.size(); ++i) {
        if ((dense >> i & 1) == 0) continue;
        set |= bit_of(players[i]);
        ++size;
      }
      const bool affordable = advice_.by_cost ? cost_of_set(set) <= budget : size <= count;
      if (!affordable) continue;
      const double gain = values_.gain(set);
      if (gain > result.best_gain * (1 + 1e-12) + 1e-12) {
        result.best_gain = gain;
        result.best = set;
      }
    }
    return result;
  }

  const AdviceRequest& request_;
  const OptionValues values_;
  Advice advice_;
};

}  // namespace

Advice advise(const AdviceRequest& request, OptionSet blocked) {
  KUMIHIMO_CHECK(request_faults(request).empty());
  return Adviser(request, blocked).advise();
}

}  // namespace kumihimo
