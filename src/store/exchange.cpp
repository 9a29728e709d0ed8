#include "store/exchange.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/json_document.hpp"

namespace kumihimo {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view line_schema = "kumihimo.trial/1";

Json cell_json(const std::string& cell) { return cell.empty() ? Json(nullptr) : Json(cell); }

template <class T>
Json json_of(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

/// One line's members, read with faults that name the line and the member.
class LineReader {
 public:
  LineReader(const nlohmann::json& json, std::string where, Errors& faults)
      : json_(json), where_(std::move(where)), faults_(faults) {}

  template <class T>
  std::optional<T> optional(const char* key) {
    const auto found = json_.find(key);
    if (found == json_.end() || found->is_null()) return std::nullopt;
    const bool right = std::is_same_v<T, std::string> ? found->is_string()
                       : std::is_same_v<T, double>    ? found->is_number()
                                                      : found->is_number_integer();
    if (right) return found->get<T>();
    refuse(key, "has the wrong type");
    return std::nullopt;
  }
  std::string text(const char* key) {
    auto value = optional<std::string>(key);
    if (!value) refuse(key, "is missing");
    return value.value_or("");
  }
  void refuse(const char* key, std::string what) {
    faults_.push_back({where_ + ": " + key, std::move(what), "give a line that Kumihimo wrote"});
  }
  const nlohmann::json& json() const { return json_; }

 private:
  const nlohmann::json& json_;
  std::string where_;
  Errors& faults_;
};

void read_run(LineReader& line, RunRow& run) {
  const auto found = line.json().find("run");
  if (found == line.json().end() || !found->is_object()) {
    line.refuse("run", "is missing");
    return;
  }
  for (std::size_t i = 0; i < column_names.size(); ++i) {
    const auto cell = found->find(std::string(column_names[i]));
    if (cell == found->end() || cell->is_null()) continue;
    if (cell->is_string()) {
      run.cells[i] = cell->get<std::string>();
    } else if (cell->is_number()) {
      run.cells[i] = cell->dump();
    } else {
      line.refuse("run", fmt::format("has no text at {}", column_names[i]));
    }
  }
}

void read_steps(LineReader& line, std::vector<StepSample>& steps) {
  const auto found = line.json().find("steps");
  if (found == line.json().end()) return;
  for (const auto& json : *found) {
    if (!json.is_array() || json.size() != 4 || !json[0].is_number_integer() ||
        !json[1].is_number() || !(json[2].is_number() || json[2].is_null()) ||
        !json[3].is_boolean()) {
      line.refuse("steps", "holds something else than [step, seconds, loss, warm-up]");
      return;
    }
    steps.push_back({json[0].get<std::int64_t>(), json[1].get<double>(),
                     json[2].is_null() ? std::nullopt : std::optional(json[2].get<double>()),
                     json[3].get<bool>()});
  }
}

ExchangedTrial read_line(LineReader line) {
  ExchangedTrial read;
  Trial& trial = read.trial;
  if (line.text("schema") != line_schema) line.refuse("schema", "is not kumihimo.trial/1");
  read.study = line.text("study");
  trial.layout = line.text("layout");
  trial.repetition = line.optional<std::int64_t>("repetition");
  const auto clock = parse_trial_clock(line.text("clock"));
  const auto state = parse_trial_state(line.text("state"));
  if (!clock) line.refuse("clock", "is none of measured, emulated, quoted");
  if (!state) line.refuse("state", "is unknown");
  trial.clock = clock.value_or(TrialClock::quoted);
  trial.state = state.value_or(TrialState::error);
  trial.reason = line.optional<std::string>("reason").value_or("");
  if (const auto step_time_s = line.optional<double>("predicted_step_time_s")) {
    trial.forecast = TrialForecast{*step_time_s, line.optional<double>("predicted_mfu").value_or(0),
                                   line.optional<double>("predicted_memory_gib").value_or(0),
                                   line.optional<double>("predicted_fits").value_or(0)};
  }
  trial.started_unix_s = line.optional<double>("started_unix_s");
  trial.duration_s = line.optional<double>("duration_s");
  trial.device_hours = line.optional<double>("device_hours");
  trial.timed_steps = line.optional<std::int64_t>("timed_steps");
  trial.step_time_spread = line.optional<double>("step_time_spread");
  trial.outlier_steps = line.optional<std::int64_t>("outlier_steps");
  read_run(line, trial.run);
  read_steps(line, read.steps);
  return read;
}

/// Ends the source of a run whose times are of virtual clocks: run files have no column for it.
constexpr std::string_view emulated_mark = ", emulated";

}  // namespace

std::vector<RunRow> exported_rows(std::span<const Trial> trials) {
  std::vector<RunRow> rows;
  for (const Trial& trial : trials) {
    if (trial.run[RunColumn::status].empty()) continue;
    rows.push_back(trial.run);
    if (trial.clock == TrialClock::emulated) rows.back()[RunColumn::source] += emulated_mark;
  }
  return rows;
}

std::vector<Trial> imported_trials(std::span<const RunRow> rows, TrialClock clock) {
  std::vector<Trial> trials;
  for (const RunRow& row : rows) {
    Trial trial{.clock = clock, .run = row};
    std::string& source = trial.run[RunColumn::source];
    if (source.ends_with(emulated_mark)) {
      source.resize(source.size() - emulated_mark.size());
      trial.clock = TrialClock::emulated;
    }
    const std::string& status = row[RunColumn::status];
    trial.state = parse_trial_state(status).value_or(TrialState::error);
    trial.layout = fmt::format("tp={} pp={} dp={} micro-batch={}", row[RunColumn::tp],
                               row[RunColumn::pp], row[RunColumn::dp], row[RunColumn::micro_batch]);
    trials.push_back(std::move(trial));
  }
  return trials;
}

std::string trial_json_line(const ExchangedTrial& exchanged) {
  const Trial& trial = exchanged.trial;
  Json json{{"schema", line_schema},           {"study", exchanged.study},
            {"layout", trial.layout},          {"repetition", json_of(trial.repetition)},
            {"clock", to_string(trial.clock)}, {"state", to_string(trial.state)},
            {"reason", trial.reason}};
  if (trial.forecast) {
    json["predicted_step_time_s"] = trial.forecast->step_time_s;
    json["predicted_mfu"] = trial.forecast->mfu;
    json["predicted_memory_gib"] = trial.forecast->memory_gib;
    json["predicted_fits"] = trial.forecast->fits_probability;
  }
  json["started_unix_s"] = json_of(trial.started_unix_s);
  json["duration_s"] = json_of(trial.duration_s);
  json["device_hours"] = json_of(trial.device_hours);
  json["timed_steps"] = json_of(trial.timed_steps);
  json["step_time_spread"] = json_of(trial.step_time_spread);
  json["outlier_steps"] = json_of(trial.outlier_steps);
  Json run = Json::object();
  for (std::size_t i = 0; i < column_names.size(); ++i) {
    run[std::string(column_names[i])] = cell_json(trial.run.cells[i]);
  }
  json["run"] = std::move(run);
  json["steps"] = Json::array();
  for (const StepSample& step : exchanged.steps) {
    json["steps"].push_back({step.step, step.step_time_s, json_of(step.loss), step.warmup});
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Expected<std::vector<ExchangedTrial>> parse_trial_lines(std::string_view text,
                                                        std::string_view where) {
  FaultList faults{std::string(where)};
  std::vector<ExchangedTrial> trials;
  std::int64_t number = 0;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    ++number;
    if (line.find_first_not_of(" \r\t") == std::string_view::npos) continue;
    const std::string at = fmt::format("{}:{}", where, number);
    const char* const remedy = "give one object in each line";
    const auto json = parse_json(line, at, remedy);
    Errors of_line;
    collect(of_line, json);
    if (json && !json->is_object()) of_line.push_back({at, "is not a JSON object", remedy});
    if (of_line.empty()) trials.push_back(read_line(LineReader(*json, at, of_line)));
    for (Error& fault : of_line) faults.add(std::move(fault));
  }
  if (!faults.empty()) return std::move(faults).finish();
  return trials;
}

}  // namespace kumihimo
