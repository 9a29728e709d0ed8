#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "base/json_document.hpp"
#include "base/number_text.hpp"
#include "cli/advise_text.hpp"
#include "cli/json_text.hpp"
#include "cli/report_sources.hpp"
#include "cli/version.hpp"
#include "layout/layout_text.hpp"

namespace kumihimo {
namespace {

constexpr std::size_t most_interactions = 20;
constexpr std::size_t most_precision_steps = 1000;

std::string trial_text(const AdviceStep& step, Language language) {
  if (step.trial.measurements.empty()) return "";
  std::int64_t devices = 0;
  for (const TrialRun& run : step.trial.measurements) devices = std::max(devices, run.devices);
  return text_of(language, "advise.trial_text", step.trial.measurements.size(),
                 step.trial.measurements.front().steps, devices, step.trial.device_hours,
                 signed_percent(step.trial.expected_gain));
}

std::string gain_text(const AdviceStep& step, AdviceGoal goal, Language language) {
  std::string text =
      fmt::format("{}; {}", step_gain_text(step.gain, goal, language),
                  text_of(language, "advise.mfu_change", percent(step.before.ranked.prediction.mfu),
                          percent(step.after.ranked.prediction.mfu)));
  if (step.days_saved) text += "; " + days_text(*step.days_saved, language);
  return text;
}

}  // namespace

void add_advice(const AdviseQuestion& question, const Advice& advice, ReportContent& content) {
  const Language language = content.language;
  const AdviceRequest& request = question.request;
  const double start = advice.start.ranked.prediction.step_s;
  for (const AdviceStep& step : advice.steps) {
    ReportStep own;
    own.name = option_names(step.options, request, language);
    for (const std::size_t option : step.options) {
      own.what += (own.what.empty() ? "" : "; ") +
                  std::string(translated(language, request.options[option].description));
    }
    own.gain = gain_text(step, request.goal, language);
    if (advice.by_cost) {
      own.cost = fmt::format("{}", fmt::join(cost_parts(step, advice, language), "; "));
    }
    own.layout = to_text(step.after.ranked.layout);
    own.trial = trial_text(step, language);
    own.mfu_before = step.before.ranked.prediction.mfu;
    own.mfu_after = step.after.ranked.prediction.mfu;
    own.speed_before = start / step.before.ranked.prediction.step_s;
    own.speed_after = start / step.after.ranked.prediction.step_s;
    content.steps.push_back(std::move(own));
  }
  for (const OptionGain& gain : advice.options) {
    const UpgradeOption& option = request.options[gain.option];
    ReportOption own{.name = option.name,
                     .what = std::string(translated(language, option.description)),
                     .note = option_note(gain, question, advice, language),
                     .kept = gain.kept_gain,
                     .reoptimised = gain.reoptimised_gain,
                     .effort = option.effort};
    for (std::size_t i = 0; i < advice.ordered.size(); ++i) {
      if (advice.ordered[i] == gain.option) own.share = advice.attribution.shares[i];
    }
    content.options.push_back(std::move(own));
  }
  for (const OptionPair& pair : advice.interactions) {
    if (content.interactions.size() == most_interactions) break;
    content.interactions.push_back(
        {request.options[pair.a].name, request.options[pair.b].name, pair.together});
  }
  Recommendation& r = content.recommendation;
  r.kind = FigureKind::predicted;
  const auto certainty_of = [&](const Outcome& outcome) {
    const Machine& machine = advice.machines[outcome.machine];
    return certainty_text(machine.profile, machine.cluster, outcome.ranked.prediction, language);
  };
  if (content.steps.empty()) {
    const Prediction& now = advice.start.ranked.prediction;
    r.headline = text_of(language, "page.head_nothing");
    r.detail = to_text(request.current);
    r.gain = text_of(language, "page.gain_single", percent(now.mfu), step_text(now.step_s));
    r.certainty = certainty_of(advice.start);
    return;
  }
  const ReportStep& first = content.steps.front();
  r.headline = text_of(language, "page.head_change", first.name);
  r.detail = fmt::format("{}: {}", first.what, first.layout);
  r.gain = text_of(language, "page.gain_steps", first.gain,
                   step_gain_text(advice.total_gain, request.goal, language));
  r.certainty = certainty_of(advice.steps.front().after);
  r.next = first.trial;
}

Expected<std::monostate> add_precision(const std::string& path, ReportContent& content) {
  const Expected<PrecisionEvidence> evidence = read_precision_evidence(path);
  if (!evidence) return evidence.errors();
  const Expected<std::string> text = read_file(path, std::size_t{256} << 20);
  if (!text) return text.errors();
  PrecisionReport report;
  report.verdict =
      text_of(content.language, evidence->within_tolerance ? "advise.proven" : "advise.disproven",
              100 * evidence->mean_gap, 100 * evidence->tolerance);
  if (evidence->emulated) {
    report.verdict = text_of(content.language, "advise.emulated", report.verdict);
  }
  const std::string remedy =
      "give the output of `kumihimo train --compare-precision bf16,fp8 --json`";
  const auto parsed = parse_json(*text, path, remedy);
  if (!parsed) return parsed.errors();
  try {
    const nlohmann::json& document = *parsed;
    report.first = document.at("trainings").at(0).at("precision").get<std::string>();
    report.second = document.at("trainings").at(1).at("precision").get<std::string>();
    const auto& steps = document.at("steps");
    const std::size_t stride = std::max<std::size_t>(1, steps.size() / most_precision_steps);
    for (std::size_t i = 0; i < steps.size(); i += stride) {
      report.steps.push_back(
          {steps[i].at("step").get<std::int64_t>(), steps[i].at("losses").at(0).get<double>(),
           steps[i].at("losses").at(1).get<double>(), steps[i].at("gap").get<double>()});
    }
  } catch (const nlohmann::json::exception& error) {
    return Error{path, "is not such a document: " + fault_text(error), remedy};
  }
  content.precision = std::move(report);
  return std::monostate{};
}

void add_program(ReportContent& content) {
  content.provenance.emplace_back(text_of(content.language, "page.program"),
                                  fmt::format("kumihimo {}", program_version));
}

}  // namespace kumihimo
