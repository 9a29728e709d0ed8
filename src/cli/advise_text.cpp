#include "cli/advise_text.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/number_text.hpp"
#include "base/units.hpp"
#include "cli/job_text.hpp"
#include "cli/step_error_text.hpp"
#include "cli/table.hpp"
#include "layout/layout_text.hpp"

namespace kumihimo {
namespace {

constexpr std::size_t most_interactions = 5;
constexpr double worth_naming = 0.002;

class AdviceWriter {
 public:
  AdviceWriter(const AdviseQuestion& question, const Advice& advice, Language language,
               const Terminal& terminal)
      : question_(question), advice_(advice), language_(language), terminal_(terminal) {}

  std::string write() const { return header() + steps() + alone() + summary(); }

 private:
  const AdviceRequest& request() const { return question_.request; }
  bool is_about_cost() const { return request().goal == AdviceGoal::cost; }

  template <class... Values>
  std::string say(std::string_view key, const Values&... values) const {
    return text_of(language_, key, values...);
  }

  std::string names(const std::vector<std::size_t>& options) const {
    return option_names(options, request(), language_);
  }

  std::string state_text(const Prediction& prediction) const {
    return say("advise.state", percent(prediction.mfu), step_text(prediction.step_s),
               format_bytes(prediction.peak_memory_bytes));
  }

  std::string header() const {
    const PlannedJob& planned = question_.planned;
    Table facts{{{""}, {""}}, {}};
    const auto row = [&](std::string_view key, std::string text) {
      facts.rows.push_back({say(key), std::move(text)});
    };
    std::string job = say("advise.job_text", grouped(planned.job.global_batch_size),
                          grouped(planned.job.seq_length));
    if (request().tokens) job = say("advise.tokens_text", job, short_count(*request().tokens));
    row("advise.model", planned.job.model.name);
    row("advise.cluster", say("advise.cluster_text", planned.cluster.name, grouped(planned.devices),
                              planned.cluster.device.name));
    row("advise.job", job);
    row("advise.stack",
        say("advise.stack_text", planned.profile.name, step_error_text(planned, language_)));
    if (!planned.assumptions.empty()) {
      row("advise.assumed", fmt::format("{}", fmt::join(planned.assumptions, ", ")));
    }
    row("advise.now", to_text(advice_.start.ranked.layout));
    facts.rows.push_back({"", state_text(advice_.start.ranked.prediction)});
    if (!advice_.start_fits) facts.rows.push_back({"", say("advise.start_unfit")});
    std::string text = bold(say("advise.title"), terminal_) + "\n" + to_text(facts) + "\n";
    text += "  " + say(advice_.by_cost ? "advise.by_cost" : "advise.by_gain") + "\n";
    if (is_about_cost()) text += "  " + say("advise.goal_cost") + "\n";
    return text + "  " + say("advise.kind") + "\n\n";
  }

  std::string joined(const std::vector<std::string>& parts) const {
    return fmt::format("{}", fmt::join(parts, language_ == Language::japanese ? "、" : ", "));
  }

  std::string headline(const AdviceStep& step) const {
    const Prediction& before = step.before.ranked.prediction;
    const Prediction& after = step.after.ranked.prediction;
    std::vector<std::string> parts{
        step_gain_text(step.gain, request().goal, language_),
        say("advise.mfu_change", percent(before.mfu), percent(after.mfu)),
        say("advise.step_change", step_text(before.step_s), step_text(after.step_s))};
    if (step.days_saved) parts.push_back(days_text(*step.days_saved, language_));
    return joined(parts);
  }

  std::string money_text(const AdviceStep& step) const {
    std::vector<std::string> parts = cost_parts(step, advice_, language_);
    if (step.payback && step.payback->money_saved && *step.payback->money_saved > 0) {
      parts.push_back(say("advise.money_saved",
                          short_money({*step.payback->money_saved, advice_.currency.value()})));
      if (*step.payback->money_saved < step.cost) parts.push_back(say("advise.not_in_run"));
    }
    return joined(parts);
  }

  std::string_view part_name(TrialPart part) const {
    switch (part) {
      case TrialPart::before: return message(language_, "advise.before");
      case TrialPart::after: return message(language_, "advise.after");
      case TrialPart::after_kept: return message(language_, "advise.after_kept");
    }
    return "";
  }

  void add_trial(const ConfirmingTrial& trial, Table& table) const {
    if (trial.measurements.empty()) return;
    std::int64_t devices = 0;
    for (const TrialRun& run : trial.measurements) devices = std::max(devices, run.devices);
    table.rows.push_back(
        {"", say("advise.trial"),
         say("advise.trial_text", trial.measurements.size(), trial.measurements.front().steps,
             devices, trial.device_hours, signed_percent(trial.expected_gain))});
    for (const TrialRun& run : trial.measurements) {
      const ParallelLayout& layout = run.layout;
      table.rows.push_back(
          {"", "",
           say("advise.trial_part", layout.tensor_parallel, layout.pipeline_parallel,
               layout.data_parallel, layout.micro_batch_size, run.global_batch_size,
               step_text(run.step_s), part_name(run.part))});
    }
  }

  std::string steps() const {
    if (advice_.steps.empty()) return "  " + say("advise.nothing", 100 * worth_a_step) + "\n\n";
    std::string text;
    for (std::size_t i = 0; i < advice_.steps.size(); ++i) {
      const AdviceStep& step = advice_.steps[i];
      std::vector<std::string> what;
      for (const std::size_t option : step.options) {
        const UpgradeOption& of = request().options[option];
        const std::string description(translated(language_, of.description));
        what.push_back(description.empty() || description == of.name
                           ? of.name
                           : fmt::format("{} ({})", of.name, description));
      }
      text += "  " + bold(fmt::format("{}  {}", i + 1, joined(what)), terminal_) + "\n";
      Table table{{{""}, {""}, {""}}, {}};
      table.rows.push_back({"", "→", headline(step)});
      if (advice_.by_cost) table.rows.push_back({"", say("advise.cost_column"), money_text(step)});
      if (step.after.machine != step.before.machine) {
        const Machine& machine = advice_.machines[step.after.machine];
        table.rows.push_back(
            {"", say("advise.machine"),
             say("advise.machine_text", grouped(machine.devices), machine.cluster.device.name)});
      }
      table.rows.push_back({"", say("advise.layout"), to_text(step.after.ranked.layout)});
      add_trial(step.trial, table);
      text += to_text(table);
    }
    return text + "\n";
  }

  std::string alone() const {
    Table table{{{say("advise.option")},
                 {say("advise.kept"), Align::right},
                 {say("advise.reoptimised"), Align::right}},
                {}};
    table.columns.push_back({say("advise.share"), Align::right});
    if (advice_.by_cost) {
      table.columns.push_back(
          {fmt::format("{}, {}", say("advise.cost_column"), to_string(advice_.currency.value())),
           Align::right});
    }
    table.columns.push_back({say("advise.effort"), Align::right});
    table.columns.push_back({say("advise.what")});
    for (const OptionGain& gain : advice_.options) {
      const UpgradeOption& option = request().options[gain.option];
      std::vector<std::string> row{option.name, signed_percent(gain.kept_gain),
                                   signed_percent(gain.reoptimised_gain), share_text(gain.option)};
      if (advice_.by_cost) row.push_back(short_count(gain.cost));
      row.push_back(fmt::format("{:g}", option.effort));
      const std::string note = option_note(gain, question_, advice_, language_);
      const std::string what(translated(language_, option.description));
      row.push_back(note.empty() ? what : fmt::format("{}: {}", what, note));
      table.rows.push_back(std::move(row));
    }
    const double relayout = advice_.start.score / advice_.relayout.score - 1;
    table.rows.push_back({say("advise.relayout_only"), "", signed_percent(relayout)});
    return bold(say("advise.alone"), terminal_) + "\n" + to_text(table) + "\n";
  }

  std::string share_text(std::size_t option) const {
    const auto found = std::ranges::find(advice_.ordered, option);
    if (found == advice_.ordered.end()) return "";
    const auto player = static_cast<std::size_t>(found - advice_.ordered.begin());
    return signed_points(advice_.attribution.shares[player]);
  }

  std::string summary() const {
    const Outcome& last = advice_.steps.empty() ? advice_.start : advice_.steps.back().after;
    std::string text =
        is_about_cost()
            ? say("advise.all_cost", 100 * (1 - 1 / (1 + advice_.total_gain)),
                  percent(last.ranked.prediction.mfu))
            : say("advise.all", 100 * advice_.total_gain, percent(last.ranked.prediction.mfu));
    text += advice_.attribution.exact
                ? say("advise.shapley_exact")
                : say("advise.shapley_sampled", 100 * advice_.attribution.standard_error);
    text += "\n" + check_text() + interactions_text();
    if (!advice_.left.empty()) {
      std::vector<std::string> left;
      for (const std::size_t option : advice_.left) left.push_back(request().options[option].name);
      text += say("advise.left", joined(left)) + "\n";
    }
    return text;
  }

  std::string check_text() const {
    if (!advice_.checked) return say("advise.check_sampled") + "\n";
    std::string text;
    for (const OrderCheck& check : advice_.checks) {
      if (check.best_gain - check.gain < worth_naming) continue;
      std::vector<std::string> best;
      for (std::size_t i = 0; i < request().options.size(); ++i) {
        if ((check.best >> i & 1) != 0) best.push_back(request().options[i].name);
      }
      text += say("advise.check_better", check.steps, 100 * check.gain, joined(best),
                  100 * check.best_gain) +
              "\n";
    }
    if (!text.empty()) return text;
    return say("advise.check_ok",
               say(advice_.by_cost ? "advise.check_cost" : "advise.check_count")) +
           "\n";
  }

  std::string interactions_text() const {
    std::vector<std::string> parts;
    for (const OptionPair& pair : advice_.interactions) {
      if (parts.size() == most_interactions || std::abs(pair.together) < worth_naming) break;
      parts.push_back(say("advise.interaction", request().options[pair.a].name,
                          request().options[pair.b].name, 100 * pair.together));
    }
    if (parts.empty()) return "";
    return say("advise.interactions") + ": " + joined(parts) + "\n";
  }

  const AdviseQuestion& question_;
  const Advice& advice_;
  const Language language_;
  const Terminal& terminal_;
};

std::string fp8_note(const AdviseQuestion& question, Language language) {
  if (!question.fp8) return std::string(message(language, "advise.unproven"));
  const PrecisionEvidence& fp8 = *question.fp8;
  const std::string text =
      text_of(language, fp8.within_tolerance ? "advise.proven" : "advise.disproven",
              100 * fp8.mean_gap, 100 * fp8.tolerance);
  return fp8.emulated ? text_of(language, "advise.emulated", text) : text;
}

}  // namespace

std::string step_gain_text(double gain, AdviceGoal goal, Language language) {
  return goal == AdviceGoal::cost
             ? text_of(language, "advise.step_gain_cost", 100 * (1 - 1 / (1 + gain)))
             : text_of(language, "advise.step_gain", 100 * gain);
}

std::string days_text(double days_saved, Language language) {
  return days_saved >= 0 ? text_of(language, "advise.days", days_saved)
                         : text_of(language, "advise.days_more", -days_saved);
}

std::vector<std::string> cost_parts(const AdviceStep& step, const Advice& advice,
                                    Language language) {
  if (step.cost <= 0) return {text_of(language, "advise.free")};
  std::vector<std::string> parts{
      text_of(language, "advise.cost", short_money({step.cost, advice.currency.value()}))};
  if (step.payback) {
    parts.push_back(
        step.payback->break_even_s
            ? text_of(language, "advise.break_even", format_seconds(*step.payback->break_even_s))
            : text_of(language, "advise.no_break_even"));
  }
  return parts;
}

std::string option_names(const std::vector<std::size_t>& options, const AdviceRequest& request,
                         Language language) {
  std::string text;
  for (const std::size_t option : options) {
    const std::string& name = request.options[option].name;
    text = text.empty() ? name : text_of(language, "advise.together", text, name);
  }
  return text;
}

std::string option_note(const OptionGain& gain, const AdviseQuestion& question,
                        const Advice& advice, Language language) {
  const UpgradeOption& option = question.request.options[gain.option];
  switch (gain.no_change) {
    case NoChange::already_so: return std::string(message(language, "advise.already_so"));
    case NoChange::no_upgrade: return std::string(message(language, "advise.no_upgrade"));
    case NoChange::no_price: return std::string(message(language, "advise.no_price"));
    case NoChange::impossible:
      // Only phrases without values are translated.
      return language == Language::english ? gain.fault
                                           : std::string(translated(language, gain.fault_phrase));
    case NoChange::none: break;
  }
  if (opens_fp8(option)) return fp8_note(question, language);
  if (option.kind() == OptionKind::hardware && !(advice.by_cost && option.states_price())) {
    return std::string(message(language, "advise.needs_price"));
  }
  return "";
}

std::string advise_text(const AdviseQuestion& question, const Advice& advice, Language language,
                        const Terminal& terminal) {
  return AdviceWriter(question, advice, language, terminal).write();
}

}  // namespace kumihimo
