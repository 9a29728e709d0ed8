#include "cli/status_command.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/units.hpp"
#include "cli/json_text.hpp"
#include "cli/sweep_text.hpp"
#include "cli/terminal.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view example =
    R"(  kumihimo status sweep.db
      what a sweep has found so far, while it runs or after)";

constexpr std::size_t most_rows = 12;

bool is_worked_on(const Study& study) {
  return study.owner && liveness(*study.owner) != Liveness::dead;
}

std::string count_text(const std::vector<Trial>& trials) {
  std::map<std::string, int> counts;
  for (const Trial& trial : trials) ++counts[std::string(to_string(trial.state))];
  std::string text;
  for (const auto& [state, count] : counts) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, state);
  }
  return text;
}

std::string study_text(const Study& study, const std::vector<Trial>& trials) {
  std::string text = fmt::format("Study {}: ", study.name);
  if (study.kind == "import") {
    text += fmt::format("imported, {}\n", count_text(trials));
  } else {
    text += is_worked_on(study) ? fmt::format("running, process {}", study.owner->pid)
            : study.conclusion  ? "ended"
                                : "stopped; run the same sweep again to go on";
    text += fmt::format("; {} so far; {}\n", format_seconds(study.spent_s), count_text(trials));
  }
  text += "\n" + trials_table(trials, most_rows);
  if (study.conclusion) {
    const Json conclusion = Json::parse(*study.conclusion, nullptr, false);
    if (conclusion.is_object() && conclusion.contains("best") && conclusion["best"].is_string()) {
      text += fmt::format(
          "\nBest {}: {}\n  {:.1f} % sure that no untried layout is faster by more than 1 %\n",
          to_string(trials.empty() ? TrialClock::measured : trials.front().clock),
          conclusion["best"].get<std::string>(),
          std::min(99.9, 100 * conclusion.value("sureness_within_1_percent", 0.0)));
    }
  }
  return text + "\n";
}

Json study_json(const Study& study, const std::vector<Trial>& trials) {
  Json json{{"name", study.name},
            {"kind", study.kind},
            {"running", is_worked_on(study)},
            {"spent_s", study.spent_s},
            {"settings", Json::parse(study.settings, nullptr, false)},
            {"conclusion", nullptr},
            {"trials", Json::array()}};
  if (study.conclusion) json["conclusion"] = Json::parse(*study.conclusion, nullptr, false);
  for (const Trial& trial : trials) json["trials"].push_back(trial_json(trial));
  return json;
}

ExitCode run_status(const Flags& flags, Errors faults) {
  const auto path = flags.required_text("STORE", "name a store: kumihimo status sweep.db", faults);
  if (!path || !faults.empty()) return refuse(faults);
  auto store = Store::open(*path, Database::Mode::read);
  if (!store) return refuse(store.errors());
  std::string text;
  Json document{{"schema", "kumihimo.status/1"}, {"studies", Json::array()}};
  for (const Study& study : store->studies()) {
    const std::vector<Trial> trials = store->trials(study.id);
    text += study_text(study, trials);
    document["studies"].push_back(study_json(study, trials));
  }
  if (flags.given("--json")) return print(to_json_text(document));
  return print(text.empty() ? "No studies yet\n" : text);
}

}  // namespace

void register_status(CLI::App& program, CommandResult& result) {
  Flags& flags = add_command(
      program, result, {"status", "Show what a sweep has found, while it runs or after", example},
      run_status);
  flags.add_positional("STORE", "the store of a sweep");
  flags.add_switch("--json", "print the document kumihimo.status/1 of docs/json.md");
}

}  // namespace kumihimo
