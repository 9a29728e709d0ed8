#include "cli/advise_json.hpp"

#include <nlohmann/json.hpp>

#include "cli/advise_text.hpp"
#include "cli/planner_json.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

std::string_view key_of(OptionKind kind) {
  switch (kind) {
    case OptionKind::knob: return "knob";
    case OptionKind::software: return "software";
    case OptionKind::hardware: return "hardware";
  }
  return "?";
}

std::string_view key_of(TrialPart part) {
  switch (part) {
    case TrialPart::before: return "before";
    case TrialPart::after: return "after";
    case TrialPart::after_kept: return "after_layout_kept";
  }
  return "?";
}

Json machine_json(const Machine& machine) {
  const auto& price = machine.price_per_device_hour;
  return {{"cluster", machine.cluster.name},
          {"device", machine.cluster.device.name},
          {"gpus", machine.devices},
          {"stack", machine.profile.name},
          {"memory_bytes", machine.cluster.device.memory},
          {"intra_node_bytes_per_s", machine.cluster.intra_node.bandwidth},
          {"inter_node_bytes_per_s", machine.cluster.inter_node.bandwidth},
          {"price_per_device_hour", price ? Json(price->amount) : Json()}};
}

Json outcome_json(const Outcome& outcome) {
  return {{"machine", outcome.machine},
          {"layout", layout_json(outcome.ranked.layout)},
          {"predicted", prediction_json(outcome.ranked.prediction)}};
}

Json names_json(OptionSet set, const AdviceRequest& request) {
  Json names = Json::array();
  for (std::size_t i = 0; i < request.options.size(); ++i) {
    if ((set >> i & 1) != 0) names.push_back(request.options[i].name);
  }
  return names;
}

Json names_json(const std::vector<std::size_t>& options, const AdviceRequest& request) {
  Json names = Json::array();
  for (const std::size_t option : options) names.push_back(request.options[option].name);
  return names;
}

Json trial_json(const ConfirmingTrial& trial) {
  Json runs = Json::array();
  for (const TrialRun& run : trial.measurements) {
    runs.push_back({{"part", key_of(run.part)},
                    {"machine", run.machine},
                    {"gpus", run.devices},
                    {"global_batch_size", run.global_batch_size},
                    {"layout", layout_json(run.layout)},
                    {"predicted_step_time_s", run.step_s},
                    {"steps", run.steps},
                    {"warm_up_steps", trial_warm_up_steps},
                    {"device_hours", run.device_hours}});
  }
  return {{"device_hours", trial.device_hours},
          {"full_size_gain", trial.full_gain},
          {"expected_gain", trial.expected_gain},
          {"measurements", std::move(runs)}};
}

Json step_json(const AdviceStep& step, const AdviceRequest& request) {
  Json json{{"options", names_json(step.options, request)},
            {"gain", step.gain},
            {"total_gain", step.total_gain},
            {"cost", step.cost},
            {"days_saved", or_null(step.days_saved)},
            {"break_even_s", nullptr},
            {"money_saved_per_step", nullptr},
            {"money_saved", nullptr},
            {"before", outcome_json(step.before)},
            {"after", outcome_json(step.after)},
            {"trial", trial_json(step.trial)}};
  if (step.payback) {
    json["break_even_s"] = or_null(step.payback->break_even_s);
    json["money_saved_per_step"] = step.payback->saved_per_step;
    json["money_saved"] = or_null(step.payback->money_saved);
  }
  return json;
}

Json options_json(const AdviseQuestion& question, const Advice& advice, Language language) {
  Json options = Json::array();
  for (const OptionGain& gain : advice.options) {
    const UpgradeOption& option = question.request.options[gain.option];
    Json share;
    for (std::size_t i = 0; i < advice.ordered.size(); ++i) {
      if (advice.ordered[i] == gain.option) share = advice.attribution.shares[i];
    }
    options.push_back({{"name", option.name},
                       {"description", translated(language, option.description)},
                       {"kind", key_of(option.kind())},
                       {"gain_layout_kept", gain.kept_gain},
                       {"gain_reoptimised", gain.reoptimised_gain},
                       {"share", std::move(share)},
                       {"cost", gain.cost},
                       {"purchase", option.purchase ? option.purchase->amount : 0},
                       {"engineer_days", option.engineer_days},
                       {"effort", option.effort},
                       {"effort_reason", translated(language, option.reason)},
                       {"note", option_note(gain, question, advice, language)},
                       {"layout_kept", outcome_json(gain.kept)},
                       {"reoptimised", outcome_json(gain.reoptimised)}});
  }
  return options;
}

}  // namespace

Json advise_json(const AdviseQuestion& question, const Advice& advice, Language language) {
  const AdviceRequest& request = question.request;
  Json machines = Json::array(), steps = Json::array(), checks = Json::array(),
       pairs = Json::array();
  for (const Machine& machine : advice.machines) machines.push_back(machine_json(machine));
  for (const AdviceStep& step : advice.steps) steps.push_back(step_json(step, request));
  for (const OrderCheck& check : advice.checks) {
    checks.push_back({{"steps", check.steps},
                      {"gain", check.gain},
                      {"best_gain", check.best_gain},
                      {"best", names_json(check.best, request)}});
  }
  for (const OptionPair& pair : advice.interactions) {
    pairs.push_back({{"a", request.options[pair.a].name},
                     {"b", request.options[pair.b].name},
                     {"together", pair.together}});
  }
  Json fp8;
  if (question.fp8) {
    fp8 = {{"source", question.fp8->path},
           {"mean_gap", question.fp8->mean_gap},
           {"tolerance", question.fp8->tolerance},
           {"within_tolerance", question.fp8->within_tolerance},
           {"emulated", question.fp8->emulated}};
  }
  return {{"schema", "kumihimo.advise/1"},
          {"kind", "predicted"},
          {"language", to_string(language)},
          {"job", job_json(question.planned)},
          {"goal", request.goal == AdviceGoal::speed ? "speed" : "cost"},
          {"ranked_by", advice.by_cost ? "gain_per_cost" : "gain"},
          {"currency", advice.currency ? Json(to_string(*advice.currency)) : Json()},
          {"tokens", or_null(request.tokens)},
          {"fp8_evidence", std::move(fp8)},
          {"machines", std::move(machines)},
          {"start", outcome_json(advice.start)},
          {"start_fits", advice.start_fits},
          {"relayout", outcome_json(advice.relayout)},
          {"total_gain", advice.total_gain},
          {"steps", std::move(steps)},
          {"left", names_json(advice.left, request)},
          {"options", options_json(question, advice, language)},
          {"attribution",
           {{"exact", advice.attribution.exact},
            {"standard_error", advice.attribution.standard_error}}},
          {"checked", advice.checked},
          {"checks", std::move(checks)},
          {"interactions", std::move(pairs)}};
}

}  // namespace kumihimo
