#include "cli/report_command.hpp"

#include <algorithm>
#include <array>

#include "base/files.hpp"
#include "base/suggest.hpp"
#include "cli/advise_options.hpp"
#include "cli/constraint_options.hpp"
#include "cli/report_sources.hpp"
#include "cli/terminal.hpp"
#include "store/store.hpp"

namespace kumihimo {
namespace {

constexpr std::string_view example =
    R"(  kumihimo report sweep.db --out report.html
      what the trials of a sweep say, in one page
  kumihimo report sweep.db --model llama-65b --cluster a100-80gb-sxm --gpus 128 \
      --current "tp=8 pp=8 dp=2 micro-batch=1 recompute=full" --lang ja --out report.html
      trials, plan and advice together, in Japanese
  kumihimo report --model llama-13b --cluster a100-80gb-sxm --gpus 64 --format md
      a plan as Markdown, on standard output)";

enum class Format { html, markdown, csv, json };

void add_flags(Flags& flags) {
  flags.add_positional("STORE", "a study's store, such as sweep.db, or plan --json's plan.json");
  add_job_flags(flags);
  add_advise_flags(flags);
  flags.group("Output");
  flags.add_value("--out", "FILE", "where to write (default: standard output)");
  flags.add_value("--format", "html|md|csv|json",
                  "one page (default), Markdown, rows, or all of it");
  add_language_flag(flags);
}

Format read_format(const Flags& flags, Errors& faults) {
  const std::array<std::string, 4> known{"html", "md", "csv", "json"};
  const auto text = flags.text("--format", faults);
  if (!text) return Format::html;
  const auto found = std::ranges::find(known, *text);
  if (found != known.end()) return static_cast<Format>(found - known.begin());
  faults.push_back({"--format", "is \"" + text->substr(0, 60) + "\"", suggest(*text, known)});
  return Format::html;
}

/// What the planner is asked for this report; nothing where no model is named.
struct PlanQuestion {
  PlannedJob planned;
  Constraints constraints;
  SearchRequest request;
  std::optional<AdviseQuestion> advised;
};

std::optional<PlanQuestion> read_plan_question(const Flags& flags, Errors& faults) {
  PlanQuestion question;
  if (flags.given("--current")) {
    question.advised = read_advise_question(flags, faults);
    if (!question.advised) return std::nullopt;
    question.planned = question.advised->planned;
  } else {
    const auto planned = read_job(flags, faults);
    if (!planned) return std::nullopt;
    question.planned = *planned;
  }
  Constraints& constraints = question.constraints;
  const auto degrees = [&](std::string_view flag) {
    return flags.whole_list(flag, 1, 32768, faults);
  };
  constraints.tensor_parallel = degrees("--tp");
  constraints.pipeline_parallel = degrees("--pp");
  constraints.context_parallel = degrees("--cp");
  constraints.data_parallel = degrees("--dp");
  constraints.micro_batch_size = degrees("--micro-batch-size");
  question.request = make_request(question.planned, constraints, faults);
  if (!faults.empty()) return std::nullopt;
  return question;
}

void add_planned(const PlanQuestion& question, ReportContent& content) {
  std::optional<ParallelLayout> current;
  if (question.advised) current = question.advised->request.current;
  add_plan(question.planned, question.constraints, question.request, current, content);
  if (question.advised) {
    add_advice(*question.advised, advise(question.advised->request, question.advised->blocked),
               content);
  }
}

std::string written(const ReportContent& content, Format format) {
  switch (format) {
    case Format::html: return report_html(content);
    case Format::markdown: return report_markdown(content);
    case Format::csv: return report_csv(content);
    case Format::json: return report_json(content);
  }
  return "";
}

ExitCode run_report(const Flags& flags, Errors faults) {
  ReportContent content;
  content.language = read_language(flags, faults);
  const Format format = read_format(flags, faults);
  const auto out = flags.output_path("--out", faults);
  const auto store = flags.text("STORE", faults);
  if (store && out) judge_output_spares("--out", *out, *store, faults);
  const bool plans = flags.given("--model") || flags.given("--cluster") || flags.given("--current");
  if (!store && !plans) {
    faults.push_back({"STORE", "is missing, and --model too",
                      "name a study's store, or a --model and --cluster to plan, or both"});
  }
  std::optional<PlanQuestion> question;
  if (plans) question = read_plan_question(flags, faults);
  // What files hold is judged before planning, which takes seconds.
  const bool is_plan = store && store->ends_with(".json");
  if (is_plan && plans) {
    faults.push_back({"STORE", "is a plan, and --model or --cluster ask for another",
                      "give the plan's file alone, or let it be planned again"});
  }
  std::optional<Store> trials;
  if (is_plan) {
    collect(faults, add_plan_file(*store, content));
  } else if (store) {
    auto opened = Store::open(*store, Database::Mode::read);
    collect(faults, opened);
    if (opened) trials = *std::move(opened);
  }
  if (const auto path = flags.text("--precision-comparison", faults)) {
    collect(faults, add_precision(*path, content));
  }
  if (!faults.empty()) return refuse(faults);

  if (question) add_planned(*question, content);
  if (trials) add_study(*trials, content);
  add_program(content);

  const std::string text = written(content, format);
  if (!out) return print(text);
  const auto file = write_file_atomically(*out, text);
  if (file) return ExitCode::done;
  print_errors(file.errors());
  return ExitCode::environment;
}

}  // namespace

void register_report(CLI::App& program, CommandResult& result) {
  add_flags(add_command(program, result,
                        {"report", "Write what was planned and measured as one page", example},
                        run_report));
}

}  // namespace kumihimo
