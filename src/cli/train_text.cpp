#include "cli/train_text.hpp"

#include <array>
#include <fmt/format.h>

#include "base/number_text.hpp"
#include "base/units.hpp"
#include "cli/job_text.hpp"
#include "cli/table.hpp"
#include "layout/layout_text.hpp"
#include "tensor/gpu.hpp"

namespace kumihimo {
namespace {

std::string ranks_text(const TrainingRun& run, const RankSetup& setup) {
  const int threads = run.request.options.threads_per_rank;
  const std::string what = setup.emulated()             ? "emulated, as threads of this process"
                           : setup.backend == "threads" ? "threads of this process"
                           : setup.backend == "tcp"     ? "processes (TCP)"
                                                        : "processes (MPI)";
  if (setup.gpu != nullptr) {
    return fmt::format("{} {}, on {:.4g} GPU{}; kernels: {}", setup.ranks, what, setup.peak.cores,
                       setup.peak.cores == 1 ? "" : "s", setup.kernels);
  }
  return fmt::format("{} {}, {} {} each; kernels: {}", setup.ranks, what, threads,
                     threads == 1 ? "thread" : "threads", setup.kernels);
}

std::string peak_text(const RankSetup& setup, Precision precision) {
  const ComputePeak& peak = setup.peak;
  const std::string_view unit = setup.gpu != nullptr ? "GPU" : "core";
  return fmt::format("{} = {} a {} x {:.4g} {}{}, {}", format_flop_per_second(peak.flop_per_s()),
                     format_flop_per_second(peak.core_flop_per_s), unit, peak.cores, unit,
                     peak.cores == 1 ? "" : "s",
                     peak.measured ? fmt::format("measured at start ({} products)",
                                                 to_string(storage_dtype(precision)))
                                   : "as given by --peak");
}

/// What is not what it may seem.
void add_notes(Table& facts, const TrainingRun& run, const RankSetup& setup) {
  if (setup.peak.stated_flop_per_s > 0) {
    facts.rows.push_back(
        {"stated",
         fmt::format("{} of {} dense, a GPU, by the vendor (cluster {})",
                     format_flop_per_second(setup.peak.stated_flop_per_s),
                     to_string(run.request.options.layout.precision), setup.peak.stated_by)});
  }
  if (run.request.options.layout.precision == Precision::fp8 && setup.gpu == nullptr) {
    facts.rows.push_back({"fp8",
                          "emulated on this back end: numbers are those of the Hopper recipe, "
                          "times are not"});
  }
  if (setup.emulated()) {
    facts.rows.push_back(
        {"clock",
         fmt::format("emulated: a rank's own computing time here, messages on the links of {}",
                     run.request.cluster->name)});
  }
}

/// A column of the steps' table.
struct StepColumn {
  std::string_view title;
  int width;
};

constexpr std::array step_columns{
    StepColumn{"step", 7},  StepColumn{"loss", 9},   StepColumn{"tokens/s", 10},
    StepColumn{"MFU", 8},   StepColumn{"HFU", 8},    StepColumn{"step time", 10},
    StepColumn{"comm", 8},  StepColumn{"bubble", 8}, StepColumn{"memory", 10},
    StepColumn{"left", 13},
};
constexpr StepColumn data_column{"data", 8};

std::string aligned(std::string_view text, const StepColumn& column) {
  return padded(text, column.width, Align::right);
}

StepFigures figures_of_report(const StepReport& report, const TrainingRun& run,
                              const RankSetup& setup) {
  return figures_of(work_of_step(run.request.options), report.step_time_s, setup.peak.flop_per_s());
}

std::string time_text(const StepStatistics& statistics) {
  const StepTimes times = statistics.mean_times();
  double total = 0;
  for (const double seconds : times.seconds) total += seconds;
  Table table{{{""}, {"", Align::right}, {"", Align::right}}, {}};
  for (const Activity activity : all_activities) {
    const double seconds = times[activity];
    if (seconds == 0) continue;
    table.rows.push_back(
        {std::string(to_string(activity)), step_text(seconds), percent(seconds / total)});
  }
  table.rows.push_back({"together", step_text(total), percent(1)});
  std::string text = to_text(table);
  if (times.overlapped_s > 0) {
    text += fmt::format("  communication behind this work, not counted above: {}\n",
                        format_seconds(times.overlapped_s));
  }
  return text;
}

std::string memory_text(const StepReport& measured, const MemoryPrediction& predicted) {
  Table table{
      {{""}, {"measured", Align::right}, {"predicted", Align::right}, {"off by", Align::right}},
      {}};
  const auto add_row = [&](std::string_view what, Bytes measured_bytes, Bytes predicted_bytes) {
    const double seen = static_cast<double>(measured_bytes);
    const double expected = static_cast<double>(predicted_bytes);
    if (seen == 0 && expected == 0) return;
    // Message buffers are the trainer's own affair: GPU frameworks keep none that a profile counts.
    const bool is_predicted = expected > 0;
    table.rows.push_back({std::string(what), format_bytes(seen),
                          is_predicted ? format_bytes(expected) : "not predicted",
                          is_predicted && seen > 0 ? signed_percent(expected / seen - 1) : ""});
  };
  for (const MemoryCategory category : all_memory_categories) {
    add_row(to_string(category), measured.peak_memory[category], predicted.bytes[category]);
  }
  add_row("offloaded", measured.offloaded_memory, predicted.offloaded);
  return to_text(table);
}

std::string speed_text(const StepStatistics& statistics, const TrainingRun& run,
                       const RankSetup& setup) {
  const double median = statistics.median_step_time_s();
  const StepFigures figures =
      figures_of(work_of_step(run.request.options), median, setup.peak.flop_per_s());
  const std::int64_t left_out = statistics.steps() - statistics.timed_steps();
  Table table{{{""}, {""}}, {}};
  table.rows = {
      {"step time",
       fmt::format("{} (median of {}; middle half {} to {}){}", step_text(median),
                   statistics.timed_steps(), step_text(statistics.step_time_quantile_s(0.25)),
                   step_text(statistics.step_time_quantile_s(0.75)),
                   left_out > 0 ? fmt::format("; the first {} left out", left_out) : "")},
      {"tokens/s", rate_text(figures.tokens_per_s)},
      {"MFU",
       fmt::format("{} (full attention count); causal count {}; with recompute (HFU) {}",
                   percent(figures.mfu), percent(figures.mfu_causal), percent(figures.hfu))}};
  if (setup.peak.stated_flop_per_s > 0) {
    const StepFigures stated =
        figures_of(work_of_step(run.request.options), median, setup.peak.all_stated_flop_per_s());
    table.rows.push_back(
        {"of vendor's",
         fmt::format("{} of the peak that the vendor states; causal count {}; with "
                     "recompute {}; the shares above are of the measured products",
                     percent(stated.mfu), percent(stated.mfu_causal), percent(stated.hfu))});
  }
  return to_text(table);
}

/// One rank's own clock, for readers who skip the header.
std::string_view clock_note(const RankSetup& setup) {
  return setup.emulated() ? " (emulated)" : "";
}

}  // namespace

std::string train_header(const TrainingRun& run, const RankSetup& setup, const Terminal& terminal) {
  const TrainingOptions& options = run.request.options;
  Table facts{{{""}, {""}}, {}};
  facts.rows = {
      {"model", model_text(options.job.model)},
      {"layout", to_text(options.layout)},
      {"ranks", ranks_text(run, setup)},
      {"job", fmt::format("{}, {} steps", batch_text(options.job), grouped(run.request.steps))},
      {"data", run.tokens->description()},
      {"peak", peak_text(setup, options.layout.precision)}};
  add_notes(facts, run, setup);
  return bold("Training", terminal) + "\n" + to_text(facts) + "\n";
}

std::string step_row_titles(const TrainingRequest& request) {
  std::string text;
  for (const StepColumn& column : step_columns) text += aligned(column.title, column);
  if (request.profile_data) text += aligned(data_column.title, data_column);
  return text + "\n";
}

std::string step_row(const StepReport& report, const TrainingRun& run, const RankSetup& setup,
                     double left_s) {
  const StepFigures figures = figures_of_report(report, run, setup);
  const auto share = [&](double seconds) { return percent(seconds / report.step_time_s); };
  const std::array<std::string, step_columns.size()> cells{
      std::to_string(report.step + 1),
      fmt::format("{:.4f}", report.loss),
      rate_text(figures.tokens_per_s),
      percent(figures.mfu),
      percent(figures.hfu),
      step_text(report.step_time_s),
      share(exposed_communication_s(report.mean_times)),
      share(report.mean_times[Activity::pipeline_wait]),
      format_bytes(static_cast<double>(report.peak_memory_total)),
      left_s > 0 ? format_seconds(left_s) : ""};
  std::string text;
  for (std::size_t i = 0; i < cells.size(); ++i) text += aligned(cells[i], step_columns[i]);
  if (run.request.profile_data) {
    text += aligned(share(report.mean_times[Activity::data_loading]), data_column);
  }
  text.erase(text.find_last_not_of(' ') + 1);
  return text + "\n";
}

std::string live_line(const StepReport& report, const TrainingRun& run, const RankSetup& setup,
                      double left_s) {
  const StepFigures figures = figures_of_report(report, run, setup);
  return fmt::format("step {} of {}  loss {:.4f}  {} tokens/s  MFU {}  {} left", report.step + 1,
                     run.request.steps, report.loss, rate_text(figures.tokens_per_s),
                     percent(figures.mfu), format_seconds(left_s));
}

std::string train_summary(const StepStatistics& statistics, const TrainingRun& run,
                          const RankSetup& setup, const MemoryPrediction& predicted,
                          const TrainingEnd& end, const Terminal& terminal) {
  std::string text = heading(fmt::format("Speed{}", clock_note(setup)), terminal);
  if (statistics.timed_steps() > 0) {
    text += speed_text(statistics, run, setup);
    text +=
        heading(fmt::format("Where the time of a step goes{}, mean over ranks", clock_note(setup)),
                terminal);
    text += time_text(statistics);
  } else {
    text += "  no step after the warm-up\n";
  }
  text += heading("Memory, the most that any rank held", terminal);
  text += memory_text(statistics.last(), predicted);
  text += fmt::format(
      "  together {} at the peak{}; predicted by the planner with {}\n",
      format_bytes(static_cast<double>(statistics.last().peak_memory_total)),
      statistics.last().offloaded_memory > 0 ? ", without what is offloaded to host memory" : "",
      predicted.profile);
  if (setup.gpu != nullptr) {
    text += fmt::format("  {} in use on GPU {} by the driver's count, all its users together\n",
                        format_bytes(static_cast<double>(setup.gpu->memory_in_use())),
                        setup.gpu->facts().ordinal);
  }
  text +=
      fmt::format("\nLoss {:.4f} at step {}, {:.4f} at step {}\n", statistics.first().loss,
                  statistics.first().step + 1, statistics.last().loss, statistics.last().step + 1);
  if (end.saved) text += fmt::format("State saved as {}\n", end.saved->string());
  return text;
}

}  // namespace kumihimo
