#include "cli/explain_text.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "base/number_text.hpp"
#include "base/units.hpp"
#include "cli/job_text.hpp"
#include "cli/table.hpp"
#include "layout/layer_split.hpp"
#include "layout/layout_text.hpp"
#include "simulator/timeline.hpp"

namespace kumihimo {
namespace {

constexpr int bar_cells = 30;
constexpr std::size_t most_stages = 16;

std::string bar(double share) {
  std::string cells;
  const int full = static_cast<int>(std::lround(share * bar_cells));
  for (int i = 0; i < full; ++i) cells += "█";
  return cells;
}

std::string prediction_text(const Explanation& e, const Terminal& terminal) {
  const Prediction& p = e.prediction;
  Table table{{{""}, {""}}, {}};
  table.rows = {
      {"layout", to_text(e.layout)},
      {"step time", fmt::format("{} ± {:.0f} %", step_text(p.step_s), 100 * p.error_band)},
      {"MFU", fmt::format("{} of the {} peak, {} (full attention count); causal count {}; with "
                          "recompute (HFU) {}",
                          percent(p.mfu), to_string(e.layout.precision),
                          format_flop_per_second(e.planned.cluster.device.peak(e.layout.precision)),
                          percent(p.mfu_causal), percent(p.hfu))},
      {"tokens/s/GPU", rate_text(p.tokens_per_s_per_device)},
      {"memory", fmt::format("{} of {} on the fullest device; fits with a probability of {:.0f} %",
                             format_bytes(p.peak_memory_bytes),
                             format_bytes(static_cast<double>(e.planned.cluster.device.memory)),
                             100 * p.fits_probability)}};
  if (p.host_bytes_of_node > 0) {
    table.rows.push_back(
        {"host memory",
         fmt::format("{} of {} on the fullest node{}", format_bytes(p.host_bytes_of_node),
                     format_bytes(static_cast<double>(e.planned.cluster.host_memory)),
                     fits_host(p, e.planned.cluster) ? "" : ": does not fit")});
  }
  return wrapped_text(table, terminal.wrap_width);
}

std::string hidden_text(const StepBreakdown& parts) {
  std::string text;
  const auto add = [&text](std::string_view what, double seconds) {
    if (seconds > 0) {
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", what, format_seconds(seconds));
    }
  };
  add("collectives within the passes", parts.hidden_layer_comm_s);
  add("gradient reduction", parts.hidden_reduce_s);
  add("weight gathering", parts.hidden_gather_s);
  add("pipeline messages", parts.hidden_pipeline_comm_s);
  return text.empty() ? "" : "  hidden behind compute, not counted above: " + text + "\n";
}

std::string time_text(const Explanation& e) {
  const double step_s = e.prediction.step_s;
  Table table{{{""}, {"", Align::right}, {"", Align::right}, {""}}, {}};
  for (const TimePart& part : e.breakdown.parts()) {
    if (part.seconds == 0) continue;
    const double share = part.seconds / step_s;
    table.rows.push_back(
        {std::string(part.label), step_text(part.seconds), percent(share), bar(share)});
  }
  table.rows.push_back({"step", step_text(e.breakdown.total_s()), percent(1)});
  return to_text(table) + hidden_text(e.breakdown);
}

/// Layers of a pipeline rank, chunk by chunk: "10+10".
std::string layers_text(const std::vector<int>& layers, int rank, int ranks) {
  std::string text;
  for (std::size_t stage = rank; stage < layers.size(); stage += ranks) {
    text += (text.empty() ? "" : "+") + std::to_string(layers[stage]);
  }
  return text;
}

std::string memory_text(const Explanation& e, const Terminal& terminal) {
  Table table;
  table.columns = {{"rank", Align::right}, {"layers", Align::right}};
  for (const char* title : {"weights", "gradients", "optimizer", "activations", "workspace",
                            "communication", "context", "total"}) {
    table.columns.push_back({title, Align::right});
  }
  const bool on_host =
      std::ranges::any_of(e.prediction.memory, [](const MemoryUse& use) { return use.host > 0; });
  if (on_host) table.columns.push_back({"on host", Align::right});
  const std::vector<int> layers = stage_layers(e.layout, e.planned.job);
  const std::size_t ranks = e.prediction.memory.size();
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    if (ranks > most_stages && rank == most_stages / 2) {
      table.rows.push_back({"⋮"});
      rank = ranks - most_stages / 2;
    }
    const MemoryUse& use = e.prediction.memory[rank];
    const auto bytes = [](auto amount) { return format_bytes(static_cast<double>(amount)); };
    table.rows.push_back(
        {std::to_string(rank), layers_text(layers, static_cast<int>(rank), static_cast<int>(ranks)),
         bytes(use.weights), bytes(use.gradients), bytes(use.optimizer), bytes(use.activations),
         bytes(use.workspace), bytes(use.communication), bytes(use.context), bytes(use.total())});
    if (on_host) table.rows.back().push_back(bytes(use.host));
  }
  const std::string left_out = narrowed(table, {"communication", "context", "workspace"}, terminal);
  return to_text(table) + left_out +
         fmt::format("  capacity: {} a device\n",
                     format_bytes(static_cast<double>(e.planned.cluster.device.memory)));
}

std::string binding_text(const Explanation& e) {
  const auto& memory = e.prediction.memory;
  const auto fullest = std::ranges::max_element(memory, {}, &MemoryUse::total);
  const LargestMemory largest = largest_memory_category(e.prediction);
  const double capacity = static_cast<double>(e.planned.cluster.device.memory);
  return fmt::format("  time: {}, {} of the step\n", label(e.binding.resource),
                     percent(e.binding.share)) +
         fmt::format("  memory: pipeline rank {}, {} full, most of it {} ({})\n",
                     fullest - memory.begin(), percent(fullest->total() / capacity), largest.name,
                     format_bytes(largest.bytes));
}

std::string hardware_text(const Explanation& e) {
  Table table{{{"more"}, {"10 %", Align::right}, {"twice", Align::right}}, {}};
  for (const HardwareGain& gain : e.hardware) {
    table.rows.push_back({std::string(label(gain.figure)), signed_percent(gain.a_tenth),
                          signed_percent(gain.twice)});
  }
  return to_text(table);
}

std::vector<std::string> neighbour_row(const Explanation& e, const ExplainedNeighbour& explained) {
  const Neighbour& n = explained.neighbour;
  const std::string change = fmt::format("{} {} → {}", n.knob, n.from, n.to);
  if (!n.prediction) return {change, "", "", "", n.reason};
  const Prediction& p = *n.prediction;
  const std::string why = n.fits ? change_text(e.breakdown, explained.breakdown) : n.reason;
  return {change, step_text(p.step_s), signed_percent(e.prediction.step_s / p.step_s - 1),
          format_bytes(p.peak_memory_bytes), why};
}

std::string neighbours_text(const Explanation& e, const Terminal& terminal) {
  Table table{{{"change"},
               {"step time", Align::right},
               {"speed", Align::right},
               {"memory", Align::right},
               {"why"}},
              {}};
  bool fitting = true, possible = true;
  for (const ExplainedNeighbour& explained : e.neighbours) {
    const Neighbour& neighbour = explained.neighbour;
    if (fitting && neighbour.prediction && !neighbour.fits) table.rows.push_back({"does not fit:"});
    if (possible && !neighbour.prediction) table.rows.push_back({"is impossible:"});
    fitting = fitting && neighbour.fits;
    possible = possible && neighbour.prediction;
    table.rows.push_back(neighbour_row(e, explained));
  }
  return wrapped_text(table, terminal.wrap_width, {"step time", "memory"});
}

std::string pipeline_text(const Explanation& e, const Terminal& terminal) {
  if (e.layout.pipeline_parallel == 1) return "";
  return heading("The pipeline in time (rows: pipeline ranks)", terminal) +
         timeline_text(e.played, terminal.width) + "  " + faint(timeline_legend(), terminal) + "\n";
}

}  // namespace

std::string explain_text(const Explanation& e, const Terminal& terminal) {
  return job_text("Predicted, one layout", e.planned, terminal) + prediction_text(e, terminal) +
         heading(fmt::format("Where the time goes (pipeline rank {}, the busiest)",
                             e.breakdown.pipeline_rank),
                 terminal) +
         time_text(e) + heading("Where the memory goes, by pipeline rank", terminal) +
         memory_text(e, terminal) + heading("What binds", terminal) + binding_text(e) +
         heading("Speed with more of the hardware, the layout as it is", terminal) +
         hardware_text(e) + heading("One knob changed", terminal) + neighbours_text(e, terminal) +
         pipeline_text(e, terminal);
}

}  // namespace kumihimo
