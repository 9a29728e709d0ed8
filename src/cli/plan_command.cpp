#include "cli/plan_command.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "cli/constraint_options.hpp"
#include "cli/interrupt.hpp"
#include "cli/job_text.hpp"
#include "cli/json_text.hpp"
#include "cli/plan_text.hpp"
#include "cli/planner_json.hpp"
#include "cli/progress.hpp"
#include "cli/terminal.hpp"

namespace kumihimo {
namespace {

constexpr int most_layouts = 10'000;
constexpr int most_threads = 1024;

constexpr std::string_view example =
    R"(  kumihimo plan --model llama-13b --cluster a100-80gb-sxm --gpus 64 \
      --seq-length 2048 --global-batch-size 2048 --vocab-size 128000
      the ten best of all layouts of LLaMA 13B on 64 A100
  kumihimo plan --model llama-3-70b --cluster h100-80gb-sxm --gpus 512 --tp 4,8 --recompute none \
      --max-memory 76GiB --objective time --tokens 15T --json
      only some layouts, with the days that 15 trillion tokens take, for another program)";

void add_flags(Flags& flags) {
  add_job_flags(flags);
  add_constraint_flags(flags);
  add_objective_flags(flags);
  flags.group("Search and output");
  flags.add_value("--limit", "N", "layouts to show (default: 10)");
  flags.add_value("--threads", "N", "threads to search on (default: all cores)");
  flags.add_switch("--json", "print the document kumihimo.plan/1 of docs/json.md");
  flags.add_value("--csv", "FILE", "also write the best layouts to FILE");
}

/// What the flags ask for; nothing if there is a fault.
std::optional<Plan> read_plan(const Flags& flags, Errors& faults) {
  Constraints constraints = read_constraints(flags, faults);
  read_objective(flags, constraints, faults);
  const auto limit = flags.whole("--limit", 1, most_layouts, faults);
  const auto threads = flags.whole("--threads", 1, most_threads, faults);
  flags.output_path("--csv", faults);
  const auto planned = read_job(flags, faults);
  if (planned) judge_tokens(constraints.tokens, planned->job, faults);
  if (!planned || !faults.empty()) return std::nullopt;

  Plan plan;
  plan.planned = *planned;
  plan.request = make_request(*planned, constraints, faults);
  plan.request.limit = static_cast<int>(limit.value_or(plan.request.limit));
  plan.request.threads = static_cast<int>(threads.value_or(plan.request.threads));
  plan.tokens = constraints.tokens;
  plan.explain_command = "kumihimo explain " + job_flags_text(flags);
  const Precision precision = default_precision(planned->cluster.device, planned->profile.defaults);
  if (!flags.given("--precision") && precision == Precision::fp8) {
    plan.planned.assumptions.push_back("--precision fp8");  // few would take it for granted
  }
  if (!faults.empty()) return std::nullopt;
  return plan;
}

/// Runs the search; an interruption leaves the best so far.
bool search_until_interrupted(Plan& plan) {
  const InterruptGuard guard;
  ProgressBar bar("searching", terminal_of(stderr));
  plan.result = search(plan.request, guard.token(),
                       [&bar](std::int64_t done, std::int64_t total) { bar.update(done, total); });
  return guard.interrupted();
}

ExitCode write_csv(const Flags& flags, const Plan& plan) {
  Errors faults;
  const auto path = flags.text("--csv", faults);
  if (!path) return ExitCode::done;
  const auto written = write_file_atomically(*path, plan_csv(plan));
  if (written) return ExitCode::done;
  print_errors(written.errors());
  return ExitCode::environment;
}

/// What a user may do whose job does not fit.
std::string more_room(const SearchRequest& request) {
  std::string advice = "use more --gpus";
  const double device = static_cast<double>(request.cluster.device.memory);
  if (request.max_memory_bytes < device) advice += ", or raise --max-memory";
  const bool may_offload = std::ranges::any_of(request.space.offload, &Offload::any);
  if (!may_offload) advice += ", or allow --offload optimizer+activations";
  return advice;
}

/// Says why nothing runs; the counts stand in the output.
ExitCode outcome(const Plan& plan) {
  const SearchResult& result = plan.result;
  if (!result.best.empty()) return ExitCode::done;
  if (result.unfit > 0) {
    print_errors({{"plan", "no layout fits in memory", more_room(plan.request)}});
    return ExitCode::does_not_fit;
  }
  return refuse({{"plan", "every layout is impossible", "see the reasons above"}});
}

ExitCode run_plan(const Flags& flags, Errors faults) {
  auto plan = read_plan(flags, faults);
  if (!plan) return refuse(faults);
  const bool interrupted = search_until_interrupted(*plan);
  const ExitCode written = write_csv(flags, *plan);
  const ExitCode printed = print(flags.given("--json") ? to_json_text(plan_json(*plan))
                                                       : plan_text(*plan, terminal_of(stdout)));
  for (const ExitCode code : {written, printed}) {
    if (code != ExitCode::done) return code;
  }
  return interrupted ? ExitCode::interrupted : outcome(*plan);
}

}  // namespace

void register_plan(CLI::App& program, CommandResult& result) {
  add_flags(add_command(program, result,
                        {"plan", "Find the best layouts of a training job on a cluster", example},
                        run_plan));
}

}  // namespace kumihimo
