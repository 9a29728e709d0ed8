#include "cli/compare_precision_text.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/number_text.hpp"
#include "cli/table.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t most_steps = 10;
constexpr std::size_t most_rows = 8;

constexpr const char* emulation_note =
    "fp8 is emulated: operands are rounded to E4M3 and E5M2 and multiplied in software, sums are "
    "fp32.\nLosses and counts are those of fp8; times are not.";

std::string_view name_of(LinearRole role) {
  switch (role) {
    case LinearRole::qkv: return "qkv";
    case LinearRole::output: return "output";
    case LinearRole::up: return "up";
    case LinearRole::down: return "down";
  }
  return "?";
}

std::string_view name_of(Fp8Operand operand) {
  switch (operand) {
    case Fp8Operand::input: return "input";
    case Fp8Operand::weight: return "weight";
    case Fp8Operand::output_gradient: return "output gradient";
  }
  return "?";
}

/// Gaps are small: "+0.0132 %".
std::string gap_text(double gap) { return fmt::format("{:+.4f} %", 100 * gap); }

std::string verdict_text(const PrecisionComparison& c) {
  std::string text = fmt::format(
      "{} against {}: {}: mean gap {:.4f} % of the loss over the last quarter of {} steps, "
      "tolerance {:.4f} %\n",
      to_string(c.precisions[1]), to_string(c.precisions[0]),
      c.within_tolerance() ? "within tolerance" : "not within tolerance", 100 * c.mean_gap,
      c.steps.size(), 100 * c.tolerance);
  for (std::size_t i = 0; i < c.failures.size(); ++i) {
    if (!c.failures[i].empty()) {
      text += fmt::format("{} could not go on: {}\n", to_string(c.precisions[i]), c.failures[i]);
    }
  }
  text += c.first_step_beyond < 0
              ? "no step's gap is beyond the tolerance\n"
              : fmt::format("first step beyond the tolerance: {}\n", c.first_step_beyond + 1);
  return text;
}

std::string steps_text(const PrecisionComparison& c) {
  Table table{{{"step", Align::right},
               {fmt::format("loss {}", to_string(c.precisions[0])), Align::right},
               {fmt::format("loss {}", to_string(c.precisions[1])), Align::right},
               {"gap", Align::right},
               {"smoothed", Align::right},
               {"gradient cosine", Align::right}},
              {}};
  const std::size_t count = std::min(most_steps, c.steps.size());
  for (std::size_t i = 0; i < count; ++i) {  // the first, the last, and evenly between
    const std::size_t at = count == 1 ? 0 : i * (c.steps.size() - 1) / (count - 1);
    const PrecisionStep& step = c.steps[at];
    table.rows.push_back({fmt::format("{}", step.step + 1), fmt::format("{:.5f}", step.losses[0]),
                          fmt::format("{:.5f}", step.losses[1]), gap_text(step.gap),
                          gap_text(step.smoothed_gap),
                          fmt::format("{:.6f}", step.gradient_cosine)});
  }
  return to_text(table);
}

std::string parameters_text(const PrecisionComparison& c) {
  std::vector<ParameterAgreement> worst = c.parameters;
  std::ranges::stable_sort(worst, {}, &ParameterAgreement::cosine);
  worst.resize(std::min(most_rows, worst.size()));
  Table table{{{"gradients that differ most"}, {"cosine", Align::right}}, {}};
  for (const ParameterAgreement& p : worst) {
    table.rows.push_back({p.parameter, fmt::format("{:.6f}", p.cosine)});
  }
  return to_text(table);
}

std::string tensors_text(std::vector<Fp8TensorCounts> tensors) {
  std::ranges::stable_sort(tensors, std::greater{}, [](const Fp8TensorCounts& t) {
    return t.overflow_share() + t.underflow_share();
  });
  tensors.resize(std::min(most_rows, tensors.size()));
  Table table{{{"layer", Align::right},
               {"product"},
               {"operand"},
               {"overflows", Align::right},
               {"share", Align::right},
               {"underflows", Align::right},
               {"share", Align::right}},
              {}};
  for (const Fp8TensorCounts& t : tensors) {
    table.rows.push_back({fmt::format("{}", t.layer), std::string(name_of(t.role)),
                          std::string(name_of(t.operand)),
                          short_count(static_cast<double>(t.counts.overflowed)),
                          fmt::format("{:.4f} %", 100 * t.overflow_share()),
                          short_count(static_cast<double>(t.counts.underflowed)),
                          fmt::format("{:.4f} %", 100 * t.underflow_share())});
  }
  return to_text(table);
}

Json tensors_json(const std::vector<Fp8TensorCounts>& tensors) {
  Json list = Json::array();
  for (const Fp8TensorCounts& t : tensors) {
    list.push_back({{"layer", t.layer},
                    {"product", name_of(t.role)},
                    {"operand", name_of(t.operand)},
                    {"elements", t.counts.elements},
                    {"overflowed", t.counts.overflowed},
                    {"overflow_share", t.overflow_share()},
                    {"underflowed", t.counts.underflowed},
                    {"underflow_share", t.underflow_share()}});
  }
  return list;
}

}  // namespace

std::string to_text(const PrecisionComparison& c) {
  std::string text = verdict_text(c);
  if (c.uses_fp8()) text += fmt::format("{}\n", emulation_note);
  if (!c.steps.empty()) text += "\n" + steps_text(c) + "\n" + parameters_text(c);
  for (std::size_t i = 0; i < c.tensors.size(); ++i) {
    if (c.tensors[i].empty()) continue;
    text +=
        fmt::format("\nCasts of {} to fp8, those that lose most:\n", to_string(c.precisions[i]));
    text += tensors_text(c.tensors[i]);
  }
  return text;
}

Json to_json(const PrecisionComparison& c) {
  Json steps = Json::array(), parameters = Json::array(), trainings = Json::array();
  for (const PrecisionStep& step : c.steps) {
    steps.push_back({{"step", step.step + 1},
                     {"losses", step.losses},
                     {"gap", step.gap},
                     {"smoothed_gap", step.smoothed_gap},
                     {"gradient_cosine", step.gradient_cosine}});
  }
  for (const ParameterAgreement& p : c.parameters) {
    parameters.push_back({{"name", p.parameter}, {"gradient_cosine", p.cosine}});
  }
  for (std::size_t i = 0; i < c.precisions.size(); ++i) {
    trainings.push_back({{"precision", to_string(c.precisions[i])},
                         {"failure", c.failures[i].empty() ? Json() : Json(c.failures[i])},
                         {"fp8_tensors", tensors_json(c.tensors[i])}});
  }
  return {{"schema", "kumihimo.compare-precision/1"},
          {"fp8_emulated", c.uses_fp8()},
          {"tolerance", c.tolerance},
          {"mean_gap", c.mean_gap},
          {"within_tolerance", c.within_tolerance()},
          {"first_step_beyond", c.first_step_beyond < 0 ? Json() : Json(c.first_step_beyond + 1)},
          {"trainings", std::move(trainings)},
          {"steps", std::move(steps)},
          {"parameters", std::move(parameters)}};
}

}  // namespace kumihimo
