#include "cli/validate_command.hpp"

#include <fmt/format.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/number_text.hpp"
#include "calibrate/held_out.hpp"
#include "calibrate/predictions_file.hpp"
#include "cli/json_text.hpp"
#include "cli/planner_json.hpp"
#include "cli/progress.hpp"
#include "cli/run_options.hpp"
#include "cli/terminal.hpp"
#include "cli/validation_text.hpp"

namespace kumihimo {
namespace {

constexpr std::int64_t most_draws = 100'000;

constexpr std::string_view example =
    R"(  kumihimo validate --runs runs.csv --stack megatron-2023-a100 --max-mape 5
      how far predictions are from measured runs; exit code 1 if by more than 5 % on average
  kumihimo validate --runs runs.csv --fit-on 8 --seed 1 --predictions predictions.csv
      the same on the rows that are left when the profile is fitted on 8 of each group)";

struct Validation {
  std::vector<MeasuredRun> measured;
  StackProfile profile;
  bool stack_is_chosen = false;  ///< by the runs, not by the user
  std::optional<std::int64_t> draws;
  std::uint64_t seed = 1;
  bool leave_one_out = false;
  std::optional<double> max_mape;
  std::optional<std::string> predictions_path;
};

void add_flags(Flags& flags) {
  flags.group("Runs and profile");
  flags.add_values("--runs", "FILE",
                   "measured runs: CSV in the schema of docs/runs.md, or a store");
  flags.add_value(
      "--stack", "NAME|PATH",
      "stack profile to predict with (default: by the source of most rows, else by their device)");
  flags.add_value("--fit-on", "K",
                  "first fit the profile on K random measured rows of each group, and validate on "
                  "the others; groups of fewer than 2 K rows are pooled by sheet");
  flags.add_value("--seed", "S", "chooses those rows (default: 1)");
  flags.add_switch("--leave-one-out",
                   "predict each sheet by a profile that is fitted on all the others");
  flags.add_value("--max-mape", "X",
                  "exit with 1 if the mean error of step time exceeds X percent");
  flags.group("Output");
  flags.add_value("--predictions", "FILE", "also write one line per row to FILE, as CSV");
  flags.add_switch("--json", "print the document kumihimo.validate/1 of docs/json.md");
}

std::optional<Validation> read_validation(const Flags& flags, Errors& faults) {
  Validation validation;
  validation.draws = flags.whole("--fit-on", 1, most_draws, faults);
  const auto seed = flags.whole("--seed", 0, std::numeric_limits<std::int64_t>::max(), faults);
  validation.seed = static_cast<std::uint64_t>(seed.value_or(1));
  validation.leave_one_out = flags.given("--leave-one-out");
  validation.max_mape = flags.number("--max-mape", 0, 1e6, faults);
  validation.predictions_path = flags.output_path("--predictions", faults);
  if (flags.given("--seed") && !flags.given("--fit-on")) {
    faults.push_back({"--seed", "is given without --fit-on", "give both, or neither"});
  }
  if (validation.leave_one_out && flags.given("--fit-on")) {
    faults.push_back({"--leave-one-out", "is given with --fit-on", "keep one of them"});
  }
  validation.measured = read_run_files(flags, "--runs", faults);
  const auto profile = read_stack_of_runs(flags, validation.measured, faults);
  validation.stack_is_chosen = !flags.given("--stack");
  if (!faults.empty()) return std::nullopt;
  validation.profile = *profile;
  return validation;
}

Expected<HeldOut> predict_all(const Validation& validation,
                              const std::vector<PredictableRun>& runs) {
  ProgressBar bar("fitting", terminal_of(stderr));
  const FitProgress progress = [&bar](std::int64_t done, std::int64_t total) {
    bar.update(done, total);
  };
  if (validation.draws) {
    return fit_on(runs, validation.profile, *validation.draws, validation.seed, progress);
  }
  if (validation.leave_one_out) return leave_one_sheet_out(runs, validation.profile, progress);
  return HeldOut{.predictions = predict_runs(runs, validation.profile)};
}

/// What fits start from where the profile is not to be trusted with the runs.
std::string_view start_text(const HeldOut& held_out) {
  return held_out.started_without_fit
             ? "; the profile has seen these runs, so fits start from its facts with uncalibrated "
               "rates"
             : "";
}

/// "as it is", or what it was fitted to.
std::string fit_text(const Validation& validation, const HeldOut& held_out) {
  if (validation.draws) {
    return fmt::format("fitted on {} of these rows (--fit-on {} --seed {}){}",
                       grouped(held_out.fitted_runs), *validation.draws, validation.seed,
                       start_text(held_out));
  }
  if (validation.leave_one_out) {
    return fmt::format("fitted {} times, each time on all sheets but the one predicted{}",
                       held_out.fits, start_text(held_out));
  }
  return "as it is";
}

std::string text_of(const Validation& validation, const HeldOut& held_out,
                    const ValidationReport& report) {
  const std::string_view choice =
      validation.stack_is_chosen ? " (by the source or device of most rows: --stack)" : "";
  return fmt::format("Runs: {}\nStack profile: {}{}, {}\n\n", file_names_text(validation.measured),
                     validation.profile.name, choice, fit_text(validation, held_out)) +
         validation_text(report, terminal_of(stdout));
}

nlohmann::ordered_json json_of(const Validation& validation, const HeldOut& held_out,
                               const ValidationReport& report) {
  nlohmann::ordered_json json{{"schema", "kumihimo.validate/1"},
                              {"stack", stack_json(validation.profile)},
                              {"fit",
                               {{"fit_on", nullptr},
                                {"seed", nullptr},
                                {"leave_one_out", validation.leave_one_out},
                                {"fits", held_out.fits},
                                {"started_without_fit", held_out.started_without_fit},
                                {"fitted_rows", held_out.fitted_runs}}}};
  if (validation.draws) {
    json["fit"]["fit_on"] = *validation.draws;
    json["fit"]["seed"] = validation.seed;
  }
  json.update(validation_json(report));
  return json;
}

ExitCode write_predictions_file(const Validation& validation,
                                const std::vector<PredictableRun>& runs, const HeldOut& held_out) {
  if (!validation.predictions_path) return ExitCode::done;
  const auto written = write_predictions(*validation.predictions_path, runs, held_out.predictions);
  if (written) return ExitCode::done;
  print_errors(written.errors());
  return ExitCode::environment;
}

ExitCode check_error(const Validation& validation, const ValidationReport& report) {
  if (!validation.max_mape) return ExitCode::done;
  if (report.error.runs == 0) {
    print_errors(
        {{"--max-mape", "cannot be checked: no row was scored", "see above why rows are skipped"}});
    return ExitCode::check_failed;
  }
  if (100 * report.error.mape <= *validation.max_mape) return ExitCode::done;
  print_errors({{"--max-mape",
                 fmt::format("is exceeded: the mean error is {:.2f} %, above {} %",
                             100 * report.error.mape, *validation.max_mape),
                 "fit a profile to such runs: kumihimo calibrate --help"}});
  return ExitCode::check_failed;
}

ExitCode run_validate(const Flags& flags, Errors faults) {
  auto validation = read_validation(flags, faults);
  if (!validation || !faults.empty()) return refuse(faults);
  const std::vector<PredictableRun> runs =
      prepare_runs(validation->measured, validation->profile.defaults);
  const Expected<HeldOut> held_out = predict_all(*validation, runs);
  if (!held_out) return refuse(held_out.errors());
  const ValidationReport report = judge(runs, held_out->predictions);

  const ExitCode written = write_predictions_file(*validation, runs, *held_out);
  const ExitCode printed =
      print(flags.given("--json") ? to_json_text(json_of(*validation, *held_out, report))
                                  : text_of(*validation, *held_out, report));
  for (const ExitCode code : {written, printed}) {
    if (code != ExitCode::done) return code;
  }
  return check_error(*validation, report);
}

}  // namespace

void register_validate(CLI::App& program, CommandResult& result) {
  add_flags(add_command(program, result,
                        {"validate", "Compare predictions with measured runs", example},
                        run_validate));
}

}  // namespace kumihimo
