#include "cli/plan_text.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <optional>

#include "base/number_text.hpp"
#include "base/units.hpp"
#include "cli/job_text.hpp"
#include "cli/reason_lines.hpp"
#include "cli/table.hpp"
#include "layout/layout_columns.hpp"
#include "layout/layout_text.hpp"
#include "search/result_text.hpp"

namespace kumihimo {
namespace {

std::vector<ParallelLayout> layouts_of(const SearchResult& result) {
  std::vector<ParallelLayout> layouts;
  for (const RankedLayout& ranked : result.best) layouts.push_back(ranked.layout);
  return layouts;
}

/// The error band of every row, or nothing where they differ, as they do by precision.
std::optional<std::string> common_band(const std::vector<RankedLayout>& best) {
  std::optional<std::string> common;
  for (const RankedLayout& ranked : best) {
    const std::string own = to_text(ranked.prediction).error_band;
    if (common && *common != own) return std::nullopt;
    common = own;
  }
  return common;
}

/// What the whole training costs, per row, where --tokens asks for it; else, where there is a
/// price, what 10^12 tokens cost.
void add_training_columns(const Plan& plan, Table& table) {
  const auto& price = plan.planned.cluster.price_per_device_hour;
  if (!plan.tokens && price) {
    table.columns.push_back({fmt::format("{}/T tokens", to_string(price->currency)), Align::right});
    for (std::size_t i = 0; i < plan.result.best.size(); ++i) {
      const Prediction& prediction = plan.result.best[i].prediction;
      table.rows[i].push_back(
          short_count(cost_per_trillion_tokens(prediction, plan.planned.cluster)->amount));
    }
  }
  if (!plan.tokens) return;
  table.columns.push_back({short_count(*plan.tokens) + " tokens", Align::right});
  if (price) {
    table.columns.push_back({fmt::format("cost, {}", to_string(price->currency)), Align::right});
  }
  for (std::size_t i = 0; i < plan.result.best.size(); ++i) {
    const double seconds =
        training_seconds(plan.result.best[i].prediction, *plan.tokens, plan.planned.devices);
    table.rows[i].push_back(format_seconds(seconds));
    if (price) {
      const double hours = seconds / 3600 * static_cast<double>(plan.planned.devices);
      table.rows[i].push_back(short_count(hours * price->amount));
    }
  }
}

Table best_table(const Plan& plan) {
  const std::vector<Knob> knobs = differing_knobs(layouts_of(plan.result));
  Table table;
  for (const char* title : {"#", "tp", "pp", "dp", "mb"}) {
    table.columns.push_back({title, Align::right});
  }
  for (const Knob& knob : knobs) table.columns.push_back({knob.title, Align::left});
  const auto band = common_band(plan.result.best);
  for (const std::string& title :
       {std::string("MFU"), std::string("causal"), band ? "step " + *band : std::string("step"),
        std::string("tokens/s/GPU"), std::string("memory"), std::string("fits"),
        std::string("bubble"), std::string("comm")}) {
    table.columns.push_back({title, Align::right});
  }
  for (const RankedLayout& ranked : plan.result.best) {
    const ParallelLayout& layout = ranked.layout;
    std::vector<std::string> row{
        std::to_string(table.rows.size() + 1), std::to_string(layout.tensor_parallel),
        std::to_string(layout.pipeline_parallel), std::to_string(layout.data_parallel),
        std::to_string(layout.micro_batch_size)};
    for (const Knob& knob : knobs) row.push_back(knob.value(layout));
    const PredictionText text = to_text(ranked.prediction);
    const std::string step = band ? text.step : text.step + " " + text.error_band;
    row.insert(row.end(), {text.mfu, text.mfu_causal, step, text.tokens_per_s_per_device,
                           text.memory, text.fits, text.bubble, text.communication});
    table.rows.push_back(std::move(row));
  }
  add_training_columns(plan, table);
  return table;
}

/// What MFU is a share of: "the bf16 peak, 312 TFLOP/s".
std::string peaks_text(const Plan& plan) {
  std::string text;
  for (const Precision precision : all_precisions) {
    const bool used = std::ranges::any_of(plan.result.best, [&](const RankedLayout& ranked) {
      return ranked.layout.precision == precision;
    });
    if (!used) continue;
    text += fmt::format("{}the {} peak, {}", text.empty() ? "" : ", or ", to_string(precision),
                        format_flop_per_second(plan.planned.cluster.device.peak(precision)));
  }
  return text;
}

std::string best_text(const Plan& plan, const Terminal& terminal) {
  if (plan.result.best.empty()) return "No layout runs.\n";
  Table best = best_table(plan);
  const std::string left_out =
      narrowed(best, {"causal", "tokens/s/GPU", "comm", "bubble", "cost/T tokens"}, terminal);
  const std::string table = to_text(best);
  const std::size_t end_of_titles = table.find('\n');
  return bold(table.substr(0, end_of_titles), terminal) + table.substr(end_of_titles) + left_out +
         faint("  in all: " + shared_knobs_text(layouts_of(plan.result)), terminal) + "\n" +
         faint("  MFU counts full attention (12 L h s per token), causal half of it, over " +
                   peaks_text(plan) + "; both predicted",
               terminal) +
         "\n";
}

/// MFU over different peaks orders layouts otherwise than speed does.
std::string ranking_text(const Plan& plan, const Terminal& terminal) {
  const bool mixed = plan.request.space.precision.size() > 1;
  if (plan.result.best.empty() || !mixed || plan.request.objective != Objective::mfu) return "";
  return faint("  ranked by MFU, each precision over its own peak: --objective step-time by speed",
               terminal) +
         "\n";
}

std::string counts_text(const SearchResult& result) {
  std::string text =
      fmt::format("{}{} layouts: {} fit, {} do not fit, {} are impossible\n",
                  result.complete ? "Considered " : "Stopped after ", grouped(result.considered),
                  grouped(result.fitting), grouped(result.unfit), grouped(result.invalid));
  if (result.unfit > 0) {
    text +=
        "  do not fit, by what fills the fullest device\n" + reason_lines(result.unfit_categories);
  }
  if (result.invalid > 0) {
    text += "  impossible\n" + reason_lines(result.invalid_reasons);
  }
  return text;
}

/// "needs 93.1 GiB of 80.0 GiB (61.0 GiB of it activations) and fits with a probability of 2 %".
std::string needs_text(const Prediction& prediction, const Plan& plan) {
  const LargestMemory largest = largest_memory_category(prediction);
  const Cluster& cluster = plan.planned.cluster;
  const double limit =
      std::min(plan.request.max_memory_bytes, static_cast<double>(cluster.device.memory));
  std::string text =
      fmt::format("needs {} of {} ({} of it {}) and fits with a probability of {:.0f} %",
                  format_bytes(prediction.peak_memory_bytes), format_bytes(limit),
                  format_bytes(largest.bytes), largest.name, 100 * prediction.fits_probability);
  if (!fits_host(prediction, cluster)) {
    text += fmt::format(", and {} of the {} of a node's host memory",
                        format_bytes(prediction.host_bytes_of_node),
                        format_bytes(static_cast<double>(cluster.host_memory)));
  }
  return text;
}

std::string best_unfit_text(const Plan& plan) {
  if (!plan.result.best_unfit) return "";
  const RankedLayout& unfit = *plan.result.best_unfit;
  return fmt::format("With more memory: {} would reach {} MFU, but {}\n    {}\n",
                     short_text(unfit.layout), percent(unfit.prediction.mfu),
                     needs_text(unfit.prediction, plan), to_text(unfit.layout));
}

std::string smallest_unfit_text(const Plan& plan) {
  if (!plan.result.smallest_unfit) return "";
  const RankedLayout& unfit = *plan.result.smallest_unfit;
  return fmt::format("The smallest: {} {}\n    {}\n", short_text(unfit.layout),
                     needs_text(unfit.prediction, plan), to_text(unfit.layout));
}

/// Which layout to take where the first may well run out of memory.
std::string surer_text(const Plan& plan) {
  constexpr double doubtful = 0.8, sure = 0.9;
  const auto fits = [](const RankedLayout& ranked) { return ranked.prediction.fits_probability; };
  const std::vector<RankedLayout>& best = plan.result.best;
  if (best.empty() || fits(best.front()) >= doubtful) return "";
  std::string text =
      fmt::format("Surer to fit than the first, {:.0f} %: ", 100 * fits(best.front()));
  const auto surer =
      std::ranges::find_if(best, [&](const RankedLayout& ranked) { return fits(ranked) >= sure; });
  if (surer != best.end()) {
    text += fmt::format("row {}, {:.0f} %, at {} MFU; ", surer - best.begin() + 1,
                        100 * fits(*surer), percent(surer->prediction.mfu));
  }
  return text + fmt::format("--min-fit-probability {:.0f}% ranks such alone\n", 100 * sure);
}

std::string hint_text(const Plan& plan) {
  if (plan.result.best.empty()) return "";
  return fmt::format("Why the first one: {} --layout \"{}\"\n", plan.explain_command,
                     to_text(plan.result.best.front().layout));
}

}  // namespace

std::string plan_text(const Plan& plan, const Terminal& terminal) {
  const std::string_view title = plan.result.complete
                                     ? "Predicted layouts, best first"
                                     : "Predicted layouts, the best until interrupted";
  std::string text = job_text(title, plan.planned, terminal);
  text += best_text(plan, terminal) + ranking_text(plan, terminal) + "\n";
  text += counts_text(plan.result);
  text += best_unfit_text(plan);
  text += smallest_unfit_text(plan);
  text += surer_text(plan);
  text += hint_text(plan);
  return text;
}

}  // namespace kumihimo
