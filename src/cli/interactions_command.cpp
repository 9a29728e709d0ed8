#include "cli/interactions_command.hpp"

#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/number_text.hpp"
#include "base/units.hpp"
#include "cli/json_text.hpp"
#include "cli/planner_json.hpp"
#include "cli/run_options.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "layout/layout_text.hpp"
#include "sweep/interactions.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view example =
    R"(  kumihimo interactions --runs sweep.db
      what each knob did to speed in a sweep's trials, and where the best layout changes with one
  kumihimo interactions --runs runs.csv --only 13B --json
      the same of published runs)";

constexpr std::size_t usual_rows = 10;

std::string gain(double log_ratio) { return signed_percent(std::expm1(log_ratio)); }

std::string effects_table(const InteractionReport& report) {
  Table table{{{"knob"},
               {"from"},
               {"to"},
               {"speed", Align::right},
               {"from", Align::right},
               {"to", Align::right},
               {"pairs", Align::right}},
              {}};
  for (const MainEffect& effect : report.effects) {
    table.rows.push_back({effect.knob, effect.from, effect.to, gain(effect.mean),
                          gain(effect.least), gain(effect.most), std::to_string(effect.pairs)});
  }
  return to_text(table);
}

std::string interactions_table(const InteractionReport& report, std::size_t most) {
  Table table{{{"knob"},
               {"change"},
               {"where"},
               {"speed", Align::right},
               {"where"},
               {"speed", Align::right},
               {"fours", Align::right}},
              {}};
  for (const Interaction& one : report.interactions) {
    if (table.rows.size() == most) break;
    table.rows.push_back({one.effect.knob, one.effect.from + " -> " + one.effect.to,
                          one.other + " " + one.other_from, gain(one.effect.mean),
                          one.other + " " + one.other_to, gain(one.mean_then),
                          std::to_string(one.quadruples)});
  }
  return to_text(table);
}

std::string report_text(const InteractionReport& report, std::size_t most) {
  const Terminal terminal = terminal_of(stdout);
  std::string text =
      bold(fmt::format("{}{}{}, {} GPUs, sequences of {}, batch {}: {} layouts measured",
                       report.group.sheet, report.group.sheet.empty() ? "" : ": ",
                       report.group.model, report.group.gpus, report.group.seq_length,
                       report.group.global_batch_size, report.layouts),
           terminal);
  text += "\n\nEach knob, all else equal: mean change of speed, and its range\n" +
          effects_table(report);
  if (!report.interactions.empty()) {
    text += "\nPairs: what one knob does depends on another (all four combinations measured)\n" +
            interactions_table(report, most);
  }
  if (!report.flips.empty()) text += "\nThe best layout changes with\n";
  for (const Flip& flip : report.flips) {
    text += fmt::format("  {} {} -> {}: {}; {} -> {}\n", flip.knob, flip.a.value, flip.b.value,
                        fmt::join(flip.also, ", "), format_seconds(flip.a.step_time_s),
                        format_seconds(flip.b.step_time_s));
  }
  return text + "\n";
}

Json effect_json(const MainEffect& effect) {
  return {{"knob", effect.knob},      {"from", effect.from},   {"to", effect.to},
          {"log_speed", effect.mean}, {"least", effect.least}, {"most", effect.most},
          {"pairs", effect.pairs}};
}

Json best_json(const BestUnder& best) {
  return {{"value", best.value},
          {"layout", to_text(best.layout)},
          {"step_time_s", best.step_time_s},
          {"layouts", best.layouts}};
}

Json report_json(const InteractionReport& report) {
  Json json = group_json(report.group);
  json.update(Json{{"layouts", report.layouts},
                   {"compared", "measured"},
                   {"effects", Json::array()},
                   {"interactions", Json::array()},
                   {"flips", Json::array()}});
  for (const MainEffect& effect : report.effects) json["effects"].push_back(effect_json(effect));
  for (const Interaction& one : report.interactions) {
    json["interactions"].push_back({{"effect", effect_json(one.effect)},
                                    {"other", one.other},
                                    {"other_from", one.other_from},
                                    {"other_to", one.other_to},
                                    {"log_speed_then", one.mean_then},
                                    {"difference", one.difference()},
                                    {"quadruples", one.quadruples}});
  }
  for (const Flip& flip : report.flips) {
    json["flips"].push_back({{"knob", flip.knob},
                             {"a", best_json(flip.a)},
                             {"b", best_json(flip.b)},
                             {"also", flip.also}});
  }
  return json;
}

ExitCode run_interactions(const Flags& flags, Errors faults) {
  auto measured = read_run_files(flags, "--runs", faults);
  const auto stack = read_stack_of_runs(flags, measured, faults);
  const auto most = flags.whole("--limit", 1, 100'000, faults);
  const auto only = flags.text("--only", faults);
  if (!faults.empty()) return refuse(faults);
  if (only) {
    std::erase_if(measured, [&](const MeasuredRun& run) {
      return (run.id + " " + run.job.model.name + " " + run.source).find(*only) ==
             std::string::npos;
    });
  }
  const auto reports = find_interactions(prepare_runs(std::move(measured), stack->defaults));
  if (reports.empty()) {
    return refuse({{"--runs", "hold no group of four layouts or more that ran",
                    "a group is the same job on as many devices: see `kumihimo validate`"}});
  }
  Json document{{"schema", "kumihimo.interactions/1"}, {"groups", Json::array()}};
  std::string text;
  for (const InteractionReport& report : reports) {
    text += report_text(report, static_cast<std::size_t>(most.value_or(usual_rows)));
    document["groups"].push_back(report_json(report));
  }
  return print(flags.given("--json") ? to_json_text(document) : text);
}

}  // namespace

void register_interactions(CLI::App& program, CommandResult& result) {
  Flags& flags =
      add_command(program, result,
                  {"interactions",
                   "Show what each knob did to measured speed, and what depends on what", example},
                  run_interactions);
  flags.add_values("--runs", "FILE",
                   "measured runs: CSV in the schema of docs/runs.md, or a store");
  flags.add_value("--only", "TEXT", "only rows with TEXT in their id, model or source");
  flags.add_value("--stack", "NAME|PATH",
                  "whose defaults stand for what rows leave open (default: by the source of most "
                  "rows, else by their device)");
  flags.add_value("--limit", "N", "pairs to show (default: 10)");
  flags.add_switch("--json", "print the document kumihimo.interactions/1 of docs/json.md");
}

}  // namespace kumihimo
