#include "cli/explain_command.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "base/units.hpp"
#include "cli/constraint_options.hpp"
#include "cli/explain_json.hpp"
#include "cli/explain_text.hpp"
#include "cli/json_text.hpp"
#include "cli/progress.hpp"
#include "cli/stated_layout.hpp"
#include "cli/terminal.hpp"
#include "layout/layout_text.hpp"
#include "layout/validate.hpp"
#include "simulator/trace.hpp"

namespace kumihimo {
namespace {

constexpr std::int64_t most_traced_passes = 200'000;

constexpr std::string_view example =
    R"(  kumihimo explain --model llama-65b --cluster a100-80gb-sxm --gpus 128 \
      --layout "tp=2 pp=4 micro-batch=1 sp=true zero=1" --trace step.json
      where its time and memory go; open step.json at https://ui.perfetto.dev
  kumihimo explain --model llama-13b --cluster a100-80gb-sxm --gpus 64
      the same for the layout that `kumihimo plan` ranks first)";

void add_flags(Flags& flags) {
  add_job_flags(flags);
  flags.group("Layout and output");
  flags.add_value(
      "--layout", "LAYOUT",
      "settings such as \"tp=2 pp=4 recompute=full\"; dp follows from --gpus, what else is "
      "left out is as the stack does it (default: the best layout)");
  flags.add_switch("--json", "print the document kumihimo.explain/1 of docs/json.md");
  flags.add_value("--trace", "FILE",
                  fmt::format("also write the step in time to FILE, for Perfetto: up to {} passes",
                              grouped(most_traced_passes)));
}

std::optional<ParallelLayout> best_layout(const PlannedJob& planned, Errors& faults) {
  const SearchRequest request = make_request(planned, Constraints{}, faults);
  if (!faults.empty()) return std::nullopt;
  // An interruption ends the program: the best until then is not what was asked for.
  ProgressBar bar("searching", terminal_of(stderr));
  const SearchResult result = search(
      request, {}, [&bar](std::int64_t done, std::int64_t total) { bar.update(done, total); });
  if (!result.best.empty()) return result.best.front().layout;
  faults.push_back({"--layout", "is missing, and no layout fits this job",
                    "see `kumihimo plan`, or name a --layout"});
  return std::nullopt;
}

/// A trace of millions of passes takes gigabytes, and no viewer opens it.
void judge_trace(const TrainingJob& job, const ParallelLayout& layout, Errors& faults) {
  const std::int64_t traced = num_actions(job, layout);
  if (traced <= most_traced_passes) return;
  faults.push_back({"--trace",
                    fmt::format("would hold {} passes, more than the {} that viewers open",
                                grouped(traced), grouped(most_traced_passes)),
                    "trace a smaller --global-batch-size: its step begins and ends alike"});
}

struct Question {
  PlannedJob planned;
  ParallelLayout layout;
};

/// What the flags ask about; nothing if there is a fault.
std::optional<Question> read_question(const Flags& flags, Errors& faults) {
  flags.output_path("--trace", faults);
  const auto stated = flags.text("--layout", faults);
  std::optional<std::int64_t> devices;
  if (stated) devices = devices_stated(*stated, faults);
  const auto planned = read_job(flags, faults, devices);
  if (!planned || !faults.empty()) return std::nullopt;
  Question question{*planned, {}};
  const auto layout = stated ? whole_layout("--layout", *stated, question.planned, faults)
                             : best_layout(*planned, faults);
  if (!layout) return std::nullopt;
  question.layout = *layout;
  // Without a pipeline there is nothing to schedule, and a group of one rank shards nothing: plan
  // ranks such a layout once, as 1F1B without ZeRO.
  if (layout->pipeline_parallel == 1) question.layout.schedule = ParallelLayout().schedule;
  if (layout->zero_group == 1) question.layout.zero_stage = question.layout.zero_group = 0;
  faults = kumihimo::faults(*layout, planned->job, planned->cluster, planned->devices);
  if (faults.empty() && flags.given("--trace")) judge_trace(planned->job, question.layout, faults);
  if (!faults.empty()) return std::nullopt;
  return question;
}

ExitCode write_trace(const Flags& flags, const Explanation& explanation) {
  Errors faults;
  const auto path = flags.text("--trace", faults);
  if (!path) return ExitCode::done;
  const std::string title =
      explanation.planned.job.model.name + ", predicted: " + short_text(explanation.layout);
  const auto written = write_file_atomically(
      *path, chrome_trace(explanation.schedule, explanation.cost, explanation.played, title));
  if (written) return ExitCode::done;
  print_errors(written.errors());
  return ExitCode::environment;
}

Expected<Explanation> explain_with_progress(const Question& question) {
  ProgressBar bar("comparing", terminal_of(stderr));
  return explain(question.planned, question.layout,
                 [&bar](std::int64_t done, std::int64_t total) { bar.update(done, total); });
}

ExitCode run_explain(const Flags& flags, Errors faults) {
  const auto question = read_question(flags, faults);
  if (!question) return refuse(faults);
  const auto explanation = explain_with_progress(*question);
  if (!explanation) return refuse(explanation.errors());
  const ExitCode written = write_trace(flags, *explanation);
  const ExitCode printed =
      print(flags.given("--json") ? to_json_text(explain_json(*explanation))
                                  : explain_text(*explanation, terminal_of(stdout)));
  for (const ExitCode code : {written, printed}) {
    if (code != ExitCode::done) return code;
  }
  const Prediction& prediction = explanation->prediction;
  const bool fits =
      prediction.fits_probability >= 0.5 && fits_host(prediction, question->planned.cluster);
  return fits ? ExitCode::done : ExitCode::does_not_fit;
}

}  // namespace

void register_explain(CLI::App& program, CommandResult& result) {
  add_flags(
      add_command(program, result,
                  {"explain", "Show where the time and memory of one layout go, and why", example},
                  run_explain));
}

}  // namespace kumihimo
