#include "cli/calibrate_command.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "base/files.hpp"
#include "base/number_text.hpp"
#include "base/units.hpp"
#include "calibrate/fit.hpp"
#include "calibrate/held_out.hpp"
#include "calibrate/memory_spread.hpp"
#include "cli/json_text.hpp"
#include "cli/measure_machine.hpp"
#include "cli/planner_json.hpp"
#include "cli/progress.hpp"
#include "cli/run_options.hpp"
#include "cli/table.hpp"
#include "cli/terminal.hpp"
#include "cli/validation_text.hpp"
#include "cost/stack_profile_file.hpp"
#include "runs/spellings.hpp"

namespace kumihimo {
namespace {

constexpr std::string_view example =
    R"(  kumihimo calibrate --from runs.csv --base megatron-2023-a100 --out mine.toml
      fit a profile to your own runs, starting from a shipped one
  kumihimo plan --model llama-13b --cluster a100-80gb-sxm --gpus 64 --stack mine.toml
      and plan with it
  kumihimo calibrate --measure --model llama-tiny --ranks 2 --cluster-out here.toml \
      --out here-stack.toml
      time this machine, at that model's shapes, instead of fitting
  mpirun -n 2 kumihimo calibrate --measure --model llama-tiny --cluster-out here.toml \
      --out here-stack.toml
      the same, with messages between processes instead of threads)";

struct Calibration {
  std::vector<MeasuredRun> measured;  ///< those that --only and --exclude leave
  StackProfile base;
  std::string out;
  std::string name;
  std::optional<std::string> description;
  std::string selection;  ///< ", only ...", or empty
  bool leave_one_out = false;
};

void add_flags(Flags& flags) {
  flags.group("Runs and profile");
  flags.add_values("--from", "FILE",
                   "measured runs: CSV in the schema of docs/runs.md, or a store");
  flags.add_value("--base", "NAME|PATH",
                  "profile to start from: what the runs do not constrain keeps its values");
  flags.add_value("--out", "FILE", "where to write the fitted profile");
  flags.add_values("--only", "TEXT",
                   "fit only to rows with TEXT in their file, source, row id or model name");
  flags.add_values("--exclude", "TEXT", "leave such rows out");
  flags.add_switch("--leave-one-out",
                   "also measure the error on sheets that were held out, fitting once per sheet");
  add_measure_flags(flags);
  flags.group("Output");
  flags.add_value("--name", "NAME", "name of the profile (default: that of the file)");
  flags.add_value("--description", "TEXT", "what stack it describes (default: the base's)");
  flags.add_switch("--json", "print the document kumihimo.calibrate/1 of docs/json.md");
}

bool names_any(const MeasuredRun& run, const std::vector<std::string>& texts) {
  return std::ranges::any_of(texts, [&](const std::string& text) {
    const std::string wanted = lower_case(text);
    for (const std::string* field : {&run.file, &run.source, &run.id, &run.job.model.name}) {
      if (lower_case(*field).find(wanted) != std::string::npos) return true;
    }
    return false;
  });
}

std::optional<Calibration> read_calibration(const Flags& flags, Errors& faults) {
  Calibration calibration;
  calibration.measured = read_run_files(flags, "--from", faults);
  const auto base = flags.required_text("--base", "name a profile: see `kumihimo stacks`", faults);
  const auto profile =
      base ? read_stack_flag(flags, "--base", "", faults) : std::optional<StackProfile>();
  calibration.out =
      flags.required_text("--out", "name the file to write: --out mine.toml", faults).value_or("");
  if (!calibration.out.empty()) judge_output_path("--out", calibration.out, faults);
  if (!calibration.out.empty() && !calibration.out.ends_with(".toml")) {
    faults.push_back({"--out", "is \"" + calibration.out.substr(0, 60) + "\"",
                      "give it a name that ends in .toml"});
  }
  calibration.name =
      flags.text("--name", faults).value_or(std::filesystem::path(calibration.out).stem().string());
  calibration.description = flags.text("--description", faults);
  calibration.leave_one_out = flags.given("--leave-one-out");
  const std::vector<std::string> only = flags.texts("--only", faults);
  const std::vector<std::string> exclude = flags.texts("--exclude", faults);
  if (!faults.empty()) return std::nullopt;

  const std::size_t rows = calibration.measured.size();
  std::erase_if(calibration.measured, [&](const MeasuredRun& run) {
    return (!only.empty() && !names_any(run, only)) || names_any(run, exclude);
  });
  if (calibration.measured.empty()) {
    faults.push_back(
        {only.empty() ? "--exclude" : "--only",
         fmt::format("leaves none of {} rows", grouped(static_cast<std::int64_t>(rows))),
         "the text stands in a row's file, source, table_or_row_id or model_name"});
    return std::nullopt;
  }
  for (const std::string& text : only) calibration.selection += ", only \"" + text + "\"";
  for (const std::string& text : exclude) calibration.selection += ", without \"" + text + "\"";
  calibration.base = *profile;
  return calibration;
}

/// Four significant digits: more than any fit knows.
double rounded(double value) {
  const std::string text = fmt::format("{:.4g}", value);
  double result = value;
  std::from_chars(text.data(), text.data() + text.size(), result);
  return result;
}

/// The same, of a parameter of that key: as its text in microseconds reads, for durations.
double rounded(std::string_view key, double value) {
  if (!key.starts_with("seconds.")) return rounded(value);
  const auto read = parse_quantity(fmt::format("{:.4g}us", value * 1e6), Dimension::seconds, key);
  return read ? *read : value;
}

/// An error as a file states it, in hundredths of a percent.
double rounded_error(double share) {
  const auto read = parse_quantity(fmt::format("{:.2f}%", 100 * share), Dimension::ratio, "error");
  return read ? *read : share;
}

/// The cluster that most of the runs ran on.
std::string usual_cluster(const std::vector<PredictableRun>& runs) {
  std::map<std::string, int> counts;
  for (const PredictableRun& run : runs) ++counts[run.cluster.name];
  return std::ranges::max_element(counts, {}, &std::pair<const std::string, int>::second)->first;
}

/// Which runs the fit saw that predicted a run.
enum class Seen { all, other_fifths, other_sheets };

std::string_view text_of(Seen seen) {
  switch (seen) {
    case Seen::all: return "";
    case Seen::other_fifths: return ", each fifth held out";
    case Seen::other_sheets: return ", each sheet held out";
  }
  return "";
}

/// One entry for each file: its runs, among `predictions` of them all.
std::vector<FitEvidence> evidence_of(const Calibration& calibration,
                                     const std::vector<PredictableRun>& runs,
                                     const std::vector<RunPrediction>& predictions, Seen seen) {
  std::vector<FitEvidence> evidence;
  std::set<std::string> files;
  for (const PredictableRun& run : runs) files.insert(run.run.file);
  for (const std::string& file : files) {
    std::vector<RunPrediction> of_file = predictions;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      if (runs[i].run.file != file) of_file[i] = {};
    }
    const ErrorSummary error = judge(runs, of_file).error;
    if (error.runs == 0) continue;
    evidence.push_back({.source = fmt::format("{}{}{}", file, calibration.selection, text_of(seen)),
                        .runs = error.runs,
                        .mape = rounded_error(error.mape),
                        .median_error = rounded_error(error.median),
                        .held_out = seen != Seen::all});
  }
  return evidence;
}

struct Fitted {
  FitReport fit;
  ValidationReport in_sample;
  std::optional<ValidationReport> held_out;
  bool started_without_fit = false;  ///< the base had seen these runs
  bool held_out_band = false;        ///< the error band is that of held-out fifths
};

constexpr std::int64_t band_parts = 5;

/// log(predicted / measured) of every timed run with a prediction.
std::vector<double> log_errors(const std::vector<PredictableRun>& runs,
                               const std::vector<RunPrediction>& predictions) {
  std::vector<double> errors;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const MeasuredRun& run = runs[i].run;
    if (run.status != RunStatus::ok || !run.step_time_s || !predictions[i].has_figures()) continue;
    errors.push_back(std::log(predictions[i].step_s / *run.step_time_s));
  }
  return errors;
}

void describe(const Calibration& calibration, bool started_without_fit,
              const std::vector<PredictableRun>& runs, StackProfile& profile) {
  profile.name = calibration.name;
  if (calibration.description) profile.description = *calibration.description;
  profile.origin =
      fmt::format("fitted to {} runs of {}{}, starting from {}{}", runs.size(),
                  file_names_text(calibration.measured), calibration.selection,
                  calibration.base.name, started_without_fit ? "'s facts, not its rates" : "");
  profile.cluster = usual_cluster(runs);
}

/// Every parameter in the order of the table; those that the fit does not mention were not looked
/// at, since no run could say anything about them.
std::vector<FittedParameter> every_parameter(const FitReport& fit, const StackProfile& base) {
  std::vector<FittedParameter> all;
  for (const ProfileParameter& parameter : profile_parameters()) {
    const auto found = std::ranges::find(fit.parameters, parameter.key, &FittedParameter::key);
    if (found != fit.parameters.end()) {
      all.push_back(*found);
    } else {
      const double value = base.*parameter.member;
      all.push_back({.key = std::string(parameter.key),
                     .base = value,
                     .value = value,
                     .log_spread = parameter.prior_spread});
    }
  }
  return all;
}

/// Fits to `runs`, which a fit can use. The profile is rounded before its errors are measured: they
/// are those of the file.
Expected<Fitted> fit(const Calibration& calibration, const std::vector<PredictableRun>& runs) {
  ProgressBar bar("fitting", terminal_of(stderr));
  const FitProgress progress = [&bar](std::int64_t done, std::int64_t total) {
    bar.update(done, total);
  };
  Fitted fitted;
  fitted.started_without_fit = has_seen(calibration.base, runs);
  StackProfile base = fitted.started_without_fit ? without_fit(calibration.base) : calibration.base;
  base.evidence.clear();
  base.spreads.clear();
  bar.update(0, 1);
  fitted.fit = fit_profile(runs, base);
  fitted.fit.parameters = every_parameter(fitted.fit, base);
  StackProfile& profile = fitted.fit.profile;
  for (const ProfileParameter& parameter : profile_parameters()) {
    double& value = profile.*parameter.member;
    value = rounded(parameter.key, value);
  }
  // What a fit leaves on the runs that it saw flatters it; the band is that of runs held out.
  const auto fifths = leave_parts_out(runs, base, band_parts, progress);
  fitted.held_out_band = fifths.has_value();
  if (fifths) {
    profile.time_residual = robust_spread(log_errors(runs, fifths->predictions));
    const auto spread = memory_spread(runs, fifths->predictions);
    if (spread) profile.memory_residual = *spread;
  }
  profile.time_residual = rounded(profile.time_residual);
  profile.memory_residual = rounded(profile.memory_residual);
  for (const FittedParameter& parameter : fitted.fit.parameters) {
    if (parameter.identification != Identification::fitted &&
        parameter.identification != Identification::weak) {
      continue;
    }
    profile.spreads.push_back({parameter.key, rounded(parameter.log_spread)});
  }
  describe(calibration, fitted.started_without_fit, runs, profile);

  const std::vector<RunPrediction> predictions = predict_runs(runs, profile);
  fitted.in_sample = judge(runs, predictions);
  profile.evidence = evidence_of(calibration, runs, predictions, Seen::all);
  const auto add_evidence = [&](const HeldOut& held_out, Seen seen) {
    for (FitEvidence& evidence : evidence_of(calibration, runs, held_out.predictions, seen)) {
      profile.evidence.push_back(std::move(evidence));
    }
  };
  if (fifths) add_evidence(*fifths, Seen::other_fifths);
  if (calibration.leave_one_out) {
    const auto held_out = leave_one_sheet_out(runs, base, progress);
    if (!held_out) return held_out.errors();
    fitted.held_out = judge(runs, held_out->predictions);
    add_evidence(*held_out, Seen::other_sheets);
  }
  return fitted;
}

/// A parameter's value as the profile's file states it, for people.
std::string value_text(std::string_view key, double value) {
  if (key.starts_with("seconds.")) return format_seconds(value);
  if (key.ends_with("_gib")) return format_bytes(value * GiB);
  return fmt::format("{:.3g}", value);
}

std::string band_text(double log_spread) {
  return fmt::format("± {:.1f} %", 100 * std::expm1(log_spread));
}

std::string_view verdict(Identification identification) {
  switch (identification) {
    case Identification::fitted: return "identified";
    case Identification::weak: return "weak: the prior decides much of it";
    case Identification::sibling: return "not constrained: moved with its other version";
    case Identification::unconstrained: return "not constrained: kept";
  }
  return "?";
}

Table parameter_table(const FitReport& fit) {
  Table table{{{"parameter"},
               {"base", Align::right},
               {"fitted", Align::right},
               {"band", Align::right},
               {"from these runs"}},
              {}};
  for (const FittedParameter& parameter : fit.parameters) {
    const bool kept = parameter.identification == Identification::unconstrained;
    table.rows.push_back({parameter.key, value_text(parameter.key, parameter.base),
                          kept ? "" : value_text(parameter.key, parameter.value),
                          kept ? "" : band_text(parameter.log_spread),
                          std::string(verdict(parameter.identification))});
  }
  return table;
}

std::string text_of(const Calibration& calibration, const Fitted& fitted) {
  const Terminal terminal = terminal_of(stdout);
  const FitReport& fit = fitted.fit;
  const std::string table = to_text(parameter_table(fit));
  const std::size_t end_of_titles = table.find('\n');
  std::string text = fmt::format(
      "Runs: {}{}: {} with a step time, {} that say something about memory\nBase: {}{}\nError "
      "band: "
      "± {:.1f} % {}\n\n{}{}\n",
      file_names_text(calibration.measured), calibration.selection, grouped(fit.time_runs),
      grouped(fit.memory_runs), calibration.base.name,
      fitted.started_without_fit
          ? "; it has seen these runs, so the fit starts from its facts with uncalibrated rates"
          : "",
      100 * fit.profile.time_residual,
      fitted.held_out_band ? "(each fifth of the runs predicted from the others)"
                           : "(on the runs that were fitted: too few to hold some out)",
      bold(table.substr(0, end_of_titles), terminal), table.substr(end_of_titles));
  text += "On the runs that were fitted\n" + validation_text(fitted.in_sample, terminal);
  if (fitted.held_out) {
    text += "\nOn each sheet, fitted to the others\n" + validation_text(*fitted.held_out, terminal);
  }
  return text + "\nWrote " + calibration.out + "\n";
}

std::string_view identification_name(Identification identification) {
  switch (identification) {
    case Identification::fitted: return "identified";
    case Identification::weak: return "weak";
    case Identification::sibling: return "sibling";
    case Identification::unconstrained: return "unconstrained";
  }
  return "?";
}

nlohmann::ordered_json json_of(const Calibration& calibration, const Fitted& fitted) {
  nlohmann::ordered_json parameters = nlohmann::ordered_json::array();
  for (const FittedParameter& parameter : fitted.fit.parameters) {
    parameters.push_back({{"key", parameter.key},
                          {"base", parameter.base},
                          {"value", parameter.value},
                          {"log_spread", parameter.log_spread},
                          {"identification", identification_name(parameter.identification)}});
  }
  nlohmann::ordered_json json{{"schema", "kumihimo.calibrate/1"},
                              {"base", stack_json(calibration.base)},
                              {"stack", stack_json(fitted.fit.profile)},
                              {"out", calibration.out},
                              {"time_runs", fitted.fit.time_runs},
                              {"memory_runs", fitted.fit.memory_runs},
                              {"parameters", std::move(parameters)},
                              {"in_sample", validation_json(fitted.in_sample)},
                              {"held_out", nullptr}};
  if (fitted.held_out) json["held_out"] = validation_json(*fitted.held_out);
  return json;
}

/// Why none of the runs can be fitted to.
Errors nothing_to_fit(const std::vector<PredictableRun>& runs) {
  std::map<std::string, std::int64_t> reasons;
  for (const PredictableRun& run : runs) {
    const std::string reason = !run.usable()                        ? run.reason
                               : run.run.status == RunStatus::error ? "failed, cause not stated"
                               : !run.run.suspect.empty()           ? run.run.suspect
                               : run.run.status == RunStatus::out_of_memory
                                   ? "ran out of memory, and without step times nothing is timed"
                                   : "no step time stated";
    ++reasons[reason];
  }
  std::vector<std::string> counted;
  for (const auto& [reason, rows] : reasons) {
    if (counted.size() < 5) counted.push_back(fmt::format("{} x {}", grouped(rows), reason));
  }
  if (counted.size() < reasons.size()) counted.push_back("...");
  return {{"--from",
           fmt::format("none of {} rows can be fitted to: {}",
                       grouped(static_cast<std::int64_t>(runs.size())), fmt::join(counted, ", ")),
           "docs/runs.md says what a row must state"}};
}

/// What belongs to the other of the command's two works would do nothing, unnoticed.
void refuse_idle_flags(const Flags& flags, Errors& faults) {
  const bool measures = flags.given("--measure");
  for (const char* flag : {"--from", "--only", "--exclude", "--leave-one-out", "--description"}) {
    if (!measures || !flags.given(flag)) continue;
    faults.push_back(
        {flag, "is for fitting, and --measure times this machine", "leave one of them out"});
  }
  for (const char* flag : {"--model", "--seq-length", "--ranks", "--cluster-out", "--collectives",
                           "--collective-ranks", "--against", "--backend"}) {
    if (measures || !flags.given(flag)) continue;
    faults.push_back({flag, "is for --measure", "add it, or leave this out"});
  }
}

ExitCode run_calibrate(const Flags& flags, Errors faults) {
  refuse_idle_flags(flags, faults);
  if (flags.given("--measure")) return measure_this_machine(flags, std::move(faults));
  auto calibration = read_calibration(flags, faults);
  if (!calibration || !faults.empty()) return refuse(faults);
  std::vector<PredictableRun> runs =
      prepare_runs(calibration->measured, calibration->base.defaults);
  const bool any_timed = std::ranges::any_of(runs, [](const PredictableRun& run) {
    return is_fittable(run) && run.run.step_time_s.has_value();
  });
  if (!any_timed) return refuse(nothing_to_fit(runs));
  std::erase_if(runs, [](const PredictableRun& run) { return !is_fittable(run); });

  const Expected<Fitted> fitted = fit(*calibration, runs);
  if (!fitted) return refuse(fitted.errors());
  const auto written =
      write_file_atomically(calibration->out, write_stack_profile(fitted->fit.profile));
  if (!written) {
    print_errors(written.errors());
    return ExitCode::environment;
  }
  return print(flags.given("--json") ? to_json_text(json_of(*calibration, *fitted))
                                     : text_of(*calibration, *fitted));
}

}  // namespace

void register_calibrate(CLI::App& program, CommandResult& result) {
  add_flags(add_command(program, result,
                        {"calibrate", "Fit a stack profile to measured runs", example},
                        run_calibrate));
}

}  // namespace kumihimo
