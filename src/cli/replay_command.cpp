#include "cli/replay_command.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/number_text.hpp"
#include "cli/json_text.hpp"
#include "cli/planner_json.hpp"
#include "cli/progress.hpp"
#include "cli/run_options.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "cluster/cluster_file.hpp"
#include "cost/stack_choice.hpp"
#include "cost/stack_profile_file.hpp"
#include "search/parallel.hpp"
#include "sweep/replay.hpp"
#include "sweep/step_times.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view example =
    R"(  kumihimo replay --runs runs.csv --strategy guided,random --seeds 20
      how many trials either would have needed to find the best of those runs
  kumihimo replay --runs runs.csv --stack uncalibrated --json
      the same for a guided search that knows nothing of the stack)";

/// Trials after which the curves are told.
constexpr std::array<std::int64_t, 8> points{1, 2, 3, 4, 8, 16, 32, 64};

struct ReplayRequest {
  std::vector<MeasuredRun> measured;
  std::optional<StackProfile> stack;  ///< nothing: each group's by its cluster
  std::vector<StrategyKind> strategies;
  std::int64_t seeds = 20;
  double tolerance = 0.001;
  double share = 1;  ///< of each group's layouts that a game has
  TrialCost cost;
};

/// All games of one strategy on one group: one for each seed if it throws dice.
struct PlayedGroup {
  const RecordedGroup* group = nullptr;
  std::string stack;
  StrategyKind strategy = StrategyKind::guided;
  std::vector<ReplayRun> runs;
};

void add_flags(Flags& flags) {
  flags.group("Runs and strategy");
  flags.add_values("--runs", "FILE",
                   "measured runs: CSV in the schema of docs/runs.md, or a store");
  flags.add_value("--strategy", "LIST", "guided, random, exhaustive (default: guided,random)");
  flags.add_value("--stack", "NAME|PATH",
                  "profile that guided starts from (default: by each group's cluster)");
  flags.add_value("--seeds", "N",
                  "games of a random search, and of any on a share of the layouts (default: 20)");
  flags.add_value("--share", "SHARE",
                  "of each group's layouts, drawn anew for each game (default: 100%)");
  flags.add_value("--tolerance", "SHARE",
                  "guided stops when no layout is expected to improve by it (default: 0.1%)");
  flags.add_value("--start-up", "TIME", "what a trial takes beside its steps (default: 60s)");
  flags.add_value("--trial-steps", "N", "steps of a trial (default: 10)");
  flags.group("Output");
  flags.add_switch("--json", "print the document kumihimo.replay/1 of docs/json.md");
}

std::optional<ReplayRequest> read_request(const Flags& flags, Errors& faults) {
  ReplayRequest request;
  request.measured = read_run_files(flags, "--runs", faults);
  if (flags.given("--stack")) request.stack = read_stack_flag(flags, "--stack", "", faults);
  for (const std::string& name : flags.text_list("--strategy", faults)) {
    const auto kind = parse_name<StrategyKind>(name, "--strategy");
    collect(faults, kind);
    if (kind) request.strategies.push_back(*kind);
  }
  if (request.strategies.empty()) request.strategies = {StrategyKind::guided, StrategyKind::random};
  request.seeds = flags.whole("--seeds", 1, 10'000, faults).value_or(request.seeds);
  request.tolerance =
      flags.quantity("--tolerance", Dimension::ratio, faults).value_or(request.tolerance);
  request.share = flags.quantity("--share", Dimension::ratio, faults).value_or(request.share);
  if (request.share <= 0 || request.share > 1) {
    faults.push_back({"--share", fmt::format("is {:g}", request.share), "give 1% to 100%"});
  }
  request.cost.start_up_s =
      flags.quantity("--start-up", Dimension::seconds, faults).value_or(request.cost.start_up_s);
  request.cost.steps =
      static_cast<double>(flags.whole("--trial-steps", 1, 1'000'000, faults).value_or(10));
  return faults.empty() ? std::optional(std::move(request)) : std::nullopt;
}

/// The profile that a search on that run's cluster would start from: a store holds its own.
StackProfile usual_stack(const MeasuredRun& run) {
  const Expected<Cluster> cluster = run.cluster ? *run.cluster : read_cluster(run.gpu_type);
  const auto profile = read_stack_profile(cluster ? default_stack(*cluster) : "uncalibrated");
  return profile ? *profile : StackProfile{};
}

/// Runs of one profile's frameworks, completed by its defaults and grouped.
struct Prepared {
  StackProfile stack;
  std::vector<RecordedGroup> groups;
};

std::vector<Prepared> prepare(const ReplayRequest& request) {
  std::map<std::string, std::vector<MeasuredRun>> by_stack;
  std::map<std::string, StackProfile> stacks;
  for (const MeasuredRun& run : request.measured) {
    const StackProfile stack = request.stack ? *request.stack : usual_stack(run);
    stacks.try_emplace(stack.name, stack);
    by_stack[stack.name].push_back(run);
  }
  std::vector<Prepared> prepared;
  for (auto& [name, runs] : by_stack) {
    const StackProfile& stack = stacks.at(name);
    prepared.push_back(
        {stack, recorded_groups(prepare_runs(std::move(runs), stack.defaults), request.cost)});
  }
  return prepared;
}

std::vector<PlayedGroup> play(const ReplayRequest& request, const std::vector<Prepared>& prepared) {
  std::vector<PlayedGroup> played;
  std::vector<const StackProfile*> stacks;
  for (const Prepared& part : prepared) {
    for (const RecordedGroup& group : part.groups) {
      for (const StrategyKind strategy : request.strategies) {
        played.push_back({&group, part.stack.name, strategy, {}});
        stacks.push_back(&part.stack);
      }
    }
  }
  ProgressBar bar("replaying", terminal_of(stderr));
  std::atomic<std::int64_t> done{0};
  const auto count = static_cast<std::int64_t>(played.size());
  const int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  for_each_in_parallel(count, threads, [&](int, std::int64_t item) {
    const auto index = static_cast<std::size_t>(item);
    PlayedGroup& game = played[index];
    const bool dice = game.strategy == StrategyKind::random || request.share < 1;
    for (std::int64_t seed = 1; seed <= (dice ? request.seeds : 1); ++seed) {
      const StrategyOptions options{.kind = game.strategy,
                                    .seed = static_cast<std::uint64_t>(seed),
                                    .base = *stacks[index],
                                    .tolerance = request.tolerance};
      game.runs.push_back(
          request.share < 1 ? replay(random_part(*game.group, request.share, options.seed), options)
                            : replay(*game.group, options));
    }
    bar.update(++done, count);
  });
  return played;
}

template <class Figure>
double median_of(const std::vector<ReplayRun>& runs, Figure figure) {
  std::vector<double> values;
  for (const ReplayRun& run : runs) values.push_back(static_cast<double>(figure(run)));
  return median(values);
}

/// Regret after that many trials, or at the end of shorter games.
double regret_after(const ReplayRun& run, std::int64_t trials) {
  const auto index = std::min<std::size_t>(run.regret.size(), static_cast<std::size_t>(trials));
  return index == 0 ? 1 : run.regret[index - 1];
}

struct Summary {
  StrategyKind strategy;
  std::vector<double> trials, hours, at_stop, regret_at_stop, share_of_layouts;
  std::array<std::vector<double>, points.size()> regret;
};

std::vector<Summary> summarise(const ReplayRequest& request,
                               const std::vector<PlayedGroup>& played) {
  std::vector<Summary> summaries;
  for (const StrategyKind strategy : request.strategies) {
    Summary summary{.strategy = strategy};
    for (const PlayedGroup& game : played) {
      if (game.strategy != strategy) continue;
      const auto figure = [&](auto of) { return median_of(game.runs, of); };
      const double trials = figure([](const ReplayRun& run) { return run.trials_to_1_percent; });
      summary.trials.push_back(trials);
      summary.share_of_layouts.push_back(trials /
                                         static_cast<double>(game.group->candidates.size()));
      summary.hours.push_back(
          figure([](const ReplayRun& run) { return run.device_hours_to_1_percent; }));
      summary.at_stop.push_back(figure([](const ReplayRun& run) { return run.trials_at_stop; }));
      summary.regret_at_stop.push_back(
          figure([](const ReplayRun& run) { return run.regret_at_stop; }));
      for (std::size_t i = 0; i < points.size(); ++i) {
        summary.regret[i].push_back(
            figure([&](const ReplayRun& run) { return regret_after(run, points[i]); }));
      }
    }
    summaries.push_back(std::move(summary));
  }
  return summaries;
}

std::string count_text(double count) { return fmt::format("{:.4g}", count); }

std::string text_of(const ReplayRequest& request, const std::vector<PlayedGroup>& played) {
  const Terminal terminal = terminal_of(stdout);
  Table groups{{{"sheet"},
                {"model"},
                {"GPUs", Align::right},
                {"layouts", Align::right},
                {"strategy"},
                {"within 1 %", Align::right},
                {"GPU-hours", Align::right},
                {"stops at", Align::right},
                {"regret there", Align::right},
                {"sure", Align::right}},
               {}};
  for (const PlayedGroup& game : played) {
    const auto figure = [&](auto of) { return median_of(game.runs, of); };
    const bool guided = game.strategy == StrategyKind::guided;
    std::string sheet = game.group->group.sheet;
    if (sheet.size() > 36) sheet = sheet.substr(0, 33) + "...";
    groups.rows.push_back(
        {sheet, game.group->group.model, std::to_string(game.group->group.gpus),
         std::to_string(game.group->candidates.size()), std::string(to_string(game.strategy)),
         count_text(figure([](const ReplayRun& run) { return run.trials_to_1_percent; })),
         fmt::format("{:.1f}",
                     figure([](const ReplayRun& run) { return run.device_hours_to_1_percent; })),
         guided ? count_text(figure([](const ReplayRun& run) { return run.trials_at_stop; })) : "",
         guided ? percent(figure([](const ReplayRun& run) { return run.regret_at_stop; })) : "",
         guided ? percent(game.runs.front().sureness_at_stop) : ""});
  }
  Table curve{{{"strategy"}, {"within 1 %", Align::right}, {"GPU-hours", Align::right}}, {}};
  for (const std::int64_t point : points) {
    curve.columns.push_back({fmt::format("after {}", point), Align::right});
  }
  for (const Summary& summary : summarise(request, played)) {
    std::vector<std::string> row{std::string(to_string(summary.strategy)),
                                 count_text(median(summary.trials)),
                                 fmt::format("{:.1f}", median(summary.hours))};
    for (const auto& regret : summary.regret) row.push_back(percent(median(regret)));
    curve.rows.push_back(std::move(row));
  }
  std::string stacks = request.stack ? request.stack->name : "";
  for (const PlayedGroup& game : played) {
    if (stacks.find(game.stack) == std::string::npos) {
      stacks += (stacks.empty() ? "" : ", ") + game.stack;
    }
  }
  return fmt::format(
      "Runs: {}\nStack profile: {}\n\n{}\n{}\n{}", file_names_text(request.measured), stacks,
      to_text(groups),
      bold("Medians over the groups: trials and GPU-hours to within 1 % of the best step time, and "
           "regret after so many trials",
           terminal),
      to_text(curve));
}

Json game_json(const PlayedGroup& game) {
  Json runs = Json::array();
  for (const ReplayRun& run : game.runs) {
    runs.push_back({{"trials_to_1_percent", run.trials_to_1_percent},
                    {"device_hours_to_1_percent", run.device_hours_to_1_percent},
                    {"trials_at_stop", run.trials_at_stop},
                    {"regret_at_stop", run.regret_at_stop},
                    {"device_hours_at_stop", run.device_hours_at_stop},
                    {"sureness_at_stop", run.sureness_at_stop},
                    {"sureness", run.sureness},
                    {"sure_rightly", run.sure_rightly},
                    {"regret", run.regret},
                    {"device_hours", run.device_hours}});
  }
  Json json = group_json(game.group->group);
  json.update(Json{{"rows", game.group->rows},
                   {"left_out", game.group->left_out},
                   {"layouts", game.group->candidates.size()},
                   {"layouts_that_ran", game.group->ran},
                   {"best_step_time_s", game.group->best_step_s},
                   {"stack", game.stack},
                   {"strategy", to_string(game.strategy)},
                   {"runs", std::move(runs)}});
  return json;
}

Json json_of(const ReplayRequest& request, const std::vector<PlayedGroup>& played) {
  Json summaries = Json::array();
  for (const Summary& summary : summarise(request, played)) {
    Json curve = Json::array();
    for (std::size_t i = 0; i < points.size(); ++i) {
      curve.push_back({{"trials", points[i]}, {"regret", median(summary.regret[i])}});
    }
    summaries.push_back({{"strategy", to_string(summary.strategy)},
                         {"groups", summary.trials.size()},
                         {"trials_to_1_percent", median(summary.trials)},
                         {"share_of_layouts_to_1_percent", median(summary.share_of_layouts)},
                         {"device_hours_to_1_percent", median(summary.hours)},
                         {"trials_at_stop", median(summary.at_stop)},
                         {"regret_at_stop", median(summary.regret_at_stop)},
                         {"curve", std::move(curve)}});
  }
  Json groups = Json::array();
  for (const PlayedGroup& game : played) groups.push_back(game_json(game));
  return {{"schema", "kumihimo.replay/1"},
          {"clock", "quoted"},
          {"start_up_s", request.cost.start_up_s},
          {"trial_steps", request.cost.steps},
          {"tolerance", request.tolerance},
          {"seeds", request.seeds},
          {"share", request.share},
          {"medians", std::move(summaries)},
          {"groups", std::move(groups)}};
}

ExitCode run_replay(const Flags& flags, Errors faults) {
  const auto request = read_request(flags, faults);
  if (!request) return refuse(faults);
  const std::vector<Prepared> prepared = prepare(*request);
  const std::vector<PlayedGroup> played = play(*request, prepared);
  if (played.empty()) {
    return refuse({{"--runs", "hold no group of four layouts or more that ran",
                    "a group is the same job on as many devices: see `kumihimo validate`"}});
  }
  return print(flags.given("--json") ? to_json_text(json_of(*request, played))
                                     : text_of(*request, played));
}

}  // namespace

void register_replay(CLI::App& program, CommandResult& result) {
  add_flags(add_command(
      program, result,
      {"replay", "Play search strategies against recorded runs, as if measuring them", example},
      run_replay));
}

}  // namespace kumihimo
