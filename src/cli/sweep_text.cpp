#include "cli/sweep_text.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/number_text.hpp"
#include "base/units.hpp"
#include "cli/planner_json.hpp"
#include "cli/table.hpp"
#include "layout/layout_text.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t most_of_reason = 60;

/// "step", or "step, emulated" where that is so of any: measured and other times never pass for
/// each other.
std::string step_title(std::span<const Trial> trials) {
  for (const Trial& trial : trials) {
    if (trial.clock != TrialClock::measured) return fmt::format("step, {}", to_string(trial.clock));
  }
  return "step";
}

Json number_or_null(double value) { return value > 0 ? Json(value) : Json(nullptr); }

}  // namespace

std::string trial_layout(const Trial& trial) {
  const auto layout = parse_layout(trial.layout);
  if (!layout) return trial.layout;
  std::string text = short_text(*layout);
  const auto add = [&](std::string_view word) { text += fmt::format(" · {}", word); };
  if (layout->recompute != Recompute::none) {
    add(layout->recompute == Recompute::full ? "recompute full" : "recompute selective");
  }
  if (layout->sequence_parallel) add("sp");
  if (layout->zero_stage > 0) add(fmt::format("zero {}", layout->zero_stage));
  if (layout->attention != AttentionKernel::flash2) add(to_string(layout->attention));
  if (layout->norm != NormKernel::fused) add("unfused norm");
  if (layout->schedule != ScheduleKind::one_forward_one_backward) add(to_string(layout->schedule));
  if (layout->precision != Precision::fp32) add(to_string(layout->precision));
  return text;
}

std::string trials_table(std::span<const Trial> trials, std::size_t most) {
  std::vector<const Trial*> order;
  for (const Trial& trial : trials) order.push_back(&trial);
  std::ranges::stable_sort(order, [](const Trial* a, const Trial* b) {
    const bool a_ran = a->state == TrialState::ok, b_ran = b->state == TrialState::ok;
    return a_ran != b_ran ? a_ran : a_ran && a->step_time_s() < b->step_time_s();
  });
  Table table{{{"trial", Align::right},
               {"layout"},
               {"state"},
               {step_title(trials), Align::right},
               {"±", Align::right},
               {"MFU", Align::right},
               {"forecast", Align::right},
               {"off by", Align::right},
               {""}},
              {}};
  for (const Trial* trial : order) {
    if (table.rows.size() == most) break;
    std::string state(to_string(trial->state));
    if (trial->repetition.value_or(0) > 0) state += ", control";
    const bool ran = trial->state == TrialState::ok;
    const double seconds = trial->step_time_s();
    table.rows.push_back(
        {std::to_string(trial->id), trial_layout(*trial), state, ran ? format_seconds(seconds) : "",
         ran && trial->step_time_spread ? fmt::format("{:.1f} %", 100 * *trial->step_time_spread)
                                        : "",
         ran && trial->mfu() > 0 ? fmt::format("{:.1f} %", 100 * trial->mfu()) : "",
         trial->forecast ? format_seconds(trial->forecast->step_time_s) : "",
         ran && trial->forecast ? signed_percent(trial->forecast->step_time_s / seconds - 1) : "",
         trial->reason.substr(0, most_of_reason)});
  }
  std::string text = to_text(table);
  if (order.size() > most) {
    text += fmt::format("  and {} more: --json lists them\n", order.size() - most);
  }
  return text;
}

std::string conclusion_text(const Conclusion& conclusion, const Candidate* best, TrialClock clock) {
  if (best == nullptr) {
    return fmt::format("No layout has run: {} tried, {} left\n", conclusion.tried,
                       conclusion.untried);
  }
  std::string text =
      fmt::format("Best {}: {}\n  a step in {}{}\n", to_string(clock), to_text(best->run.layout),
                  format_seconds(conclusion.best_step_s),
                  conclusion.best_mfu > 0 ? fmt::format(", MFU {:.1f} %", 100 * conclusion.best_mfu)
                                          : ", MFU unknown");
  if (conclusion.untried > 0) {
    text += fmt::format(
        "  {:.1f} % sure that none of the {} layouts that were not tried is faster by more than 1 "
        "%\n",
        std::min(99.9, 100 * conclusion.sureness), conclusion.untried);
  } else {
    text += "  every layout was tried\n";
  }
  if (conclusion.untried_unfit > 0) {
    text += fmt::format("  {} of them would not fit in memory\n", conclusion.untried_unfit);
  }
  if (conclusion.forecast_error) {
    text += fmt::format("Forecasts before each trial were off by {:.1f} % on average ({} trials)\n",
                        100 * *conclusion.forecast_error, conclusion.forecasts);
  }
  const Drift& drift = conclusion.drift;
  if (drift.controls > 0) {
    text += fmt::format("Drift: the first layout, run again {}, took {} (most {})\n",
                        drift.controls == 1 ? "once" : fmt::format("{} times", drift.controls),
                        signed_percent(drift.last), signed_percent(drift.largest));
  }
  return text;
}

Json conclusion_json(const Conclusion& conclusion, const Candidate* best) {
  Json json{{"best", nullptr},
            {"best_step_time_s", number_or_null(conclusion.best_step_s)},
            {"best_mfu", number_or_null(conclusion.best_mfu)},
            {"sureness_within_1_percent", conclusion.sureness},
            {"tried", conclusion.tried},
            {"untried", conclusion.untried},
            {"untried_unfit", conclusion.untried_unfit},
            {"forecast_mape", nullptr},
            {"forecasts", conclusion.forecasts},
            {"controls", conclusion.drift.controls},
            {"drift", conclusion.drift.last},
            {"largest_drift", conclusion.drift.largest}};
  if (best != nullptr) json["best"] = to_text(best->run.layout);
  if (conclusion.forecast_error) json["forecast_mape"] = *conclusion.forecast_error;
  return json;
}

Json trial_json(const Trial& trial) {
  Json json{
      {"id", trial.id},
      {"layout", trial.layout},
      {"repetition", trial.repetition ? Json(*trial.repetition) : Json(nullptr)},
      {"clock", to_string(trial.clock)},
      {"state", to_string(trial.state)},
      {"reason", trial.reason},
      {"step_time_s", number_or_null(trial.step_time_s())},
      {"step_time_spread", trial.step_time_spread ? Json(*trial.step_time_spread) : Json(nullptr)},
      {"mfu", number_or_null(trial.mfu())},
      {"duration_s", trial.duration_s ? Json(*trial.duration_s) : Json(nullptr)},
      {"forecast", nullptr}};
  if (trial.forecast) {
    json["forecast"] = {{"step_time_s", trial.forecast->step_time_s},
                        {"mfu", trial.forecast->mfu},
                        {"memory_gib", trial.forecast->memory_gib},
                        {"fits_probability", trial.forecast->fits_probability}};
  }
  return json;
}

}  // namespace kumihimo
