#include "cli/store_command.hpp"

#include <fmt/format.h>
#include <map>

#include "base/files.hpp"
#include "cli/terminal.hpp"
#include "store/exchange.hpp"

namespace kumihimo {
namespace {

constexpr std::string_view export_example =
    R"(  kumihimo store export sweep.db --csv runs.csv
      a sweep's trials as a run file, for validate, calibrate and others)";

constexpr std::string_view import_example =
    R"(  kumihimo store import sweep.db --runs runs.csv
      published runs beside one's own)";

constexpr std::size_t most_bytes = std::size_t{64} << 20;

ExitCode run_export(const Flags& flags, Errors faults) {
  const auto path = flags.required_text("STORE", "name a store", faults);
  const auto csv = flags.output_path("--csv", faults);
  const auto jsonl = flags.output_path("--jsonl", faults);
  const auto study = flags.text("--study", faults);
  if (path && csv) judge_output_spares("--csv", *csv, *path, faults);
  if (path && jsonl) judge_output_spares("--jsonl", *jsonl, *path, faults);
  if (!csv && !jsonl) {
    faults.push_back({"--csv", "is missing, and --jsonl too", "name the file to write"});
  }
  if (!path || !faults.empty()) return refuse(faults);
  auto store = Store::open(*path, Database::Mode::read);
  if (!store) return refuse(store.errors());
  std::vector<Trial> trials;
  std::string lines;
  bool found = false;
  for (const Study& one : store->studies()) {
    if (study && one.name != *study) continue;
    found = true;
    for (const Trial& trial : store->trials(one.id)) {
      if (jsonl) lines += trial_json_line({one.name, trial, store->steps(trial.id)});
      trials.push_back(trial);
    }
  }
  if (!found) return refuse({{"--study", "names no study of the store", "see `kumihimo status`"}});
  const auto write = [&](const std::string& to, const std::string& text) {
    const auto written = write_file_atomically(to, text);
    if (!written) print_errors(written.errors());
    return written.has_value();
  };
  if (csv && !write(*csv, run_rows_csv(exported_rows(trials)))) return ExitCode::environment;
  if (jsonl && !write(*jsonl, lines)) return ExitCode::environment;
  return ExitCode::done;
}

/// What is imported: trials by the study that they belong to.
struct Imports {
  std::map<std::string, std::vector<Trial>> trials;
  std::map<std::string, std::vector<std::vector<StepSample>>> steps;
};

std::optional<Imports> read_imports(const Flags& flags, Errors& faults) {
  Imports imports;
  const auto name = flags.text("--study", faults);
  for (const std::string& path : flags.texts("--runs", faults)) {
    const auto rows = read_run_rows(path);
    collect(faults, rows);
    if (!rows) continue;
    const std::string study = name.value_or(std::filesystem::path(path).filename().string());
    for (Trial& trial : imported_trials(*rows, TrialClock::quoted)) {
      imports.trials[study].push_back(std::move(trial));
      imports.steps[study].emplace_back();
    }
  }
  for (const std::string& path : flags.texts("--jsonl", faults)) {
    const auto text = read_file(path, most_bytes);
    collect(faults, text);
    if (!text) continue;
    auto lines = parse_trial_lines(*text, path);
    collect(faults, lines);
    if (!lines) continue;
    for (ExchangedTrial& line : *lines) {
      const std::string study = name.value_or(line.study);
      imports.trials[study].push_back(std::move(line.trial));
      imports.steps[study].push_back(std::move(line.steps));
    }
  }
  if (!flags.given("--runs") && !flags.given("--jsonl")) {
    faults.push_back({"--runs", "is missing, and --jsonl too", "name the file to read"});
  }
  return faults.empty() ? std::optional(std::move(imports)) : std::nullopt;
}

ExitCode run_import(const Flags& flags, Errors faults) {
  const auto path = flags.required_text("STORE", "name a store", faults);
  auto imports = read_imports(flags, faults);
  if (!path || !imports) return refuse(faults);
  auto store = Store::open(*path, Database::Mode::read_write);
  if (!store) return refuse(store.errors());
  for (const auto& [name, trials] : imports->trials) {
    if (store->find_study(name)) {
      faults.push_back({"--study", "\"" + name + "\" is in the store already",
                        "give it another name: --study NAME"});
    }
  }
  if (!faults.empty()) return refuse(faults);
  std::size_t count = 0;
  for (const auto& [name, trials] : imports->trials) {
    store->import_study(name, trials, imports->steps[name]);
    count += trials.size();
  }
  return print(fmt::format("Imported {} trials into {}\n", count, *path));
}

}  // namespace

void register_store(CLI::App& program, CommandResult& result) {
  Flags& store =
      add_command(program, result,
                  {"store", "Read runs into a store, or write them out",
                   fmt::format("{}\n{}", export_example, import_example)},
                  [](const Flags&, Errors faults) {
                    faults.push_back({"store", "needs to be told what to do",
                                      "say export or import: see `kumihimo store --help`"});
                    return refuse(faults);
                  });
  Flags& out = add_command(
      store.app(), result,
      {"export", "Write trials as a run file or as JSON lines", export_example}, run_export);
  out.add_positional("STORE", "the store of a sweep");
  out.add_value("--csv", "FILE", "trials that ran or failed, in the schema of docs/runs.md");
  out.add_value("--jsonl", "FILE", "every trial with its steps: kumihimo.trial/1 of docs/json.md");
  out.add_value("--study", "NAME", "of this study only");
  Flags& in = add_command(store.app(), result,
                          {"import", "Read a run file or JSON lines into a store", import_example},
                          run_import);
  in.add_positional("STORE", "the store; made where it is not there");
  in.add_values("--runs", "FILE", "run files: quoted runs");
  in.add_values("--jsonl", "FILE", "trials that another store wrote");
  in.add_value("--study", "NAME", "name of the study (default: the file's)");
}

}  // namespace kumihimo
