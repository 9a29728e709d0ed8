#include "cli/precision_comparison.hpp"

#include <array>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "cli/compare_precision_text.hpp"
#include "cli/gpu_options.hpp"
#include "cli/json_text.hpp"
#include "cli/progress.hpp"
#include "cli/terminal.hpp"
#include "layout/names.hpp"

namespace kumihimo {
namespace {

constexpr double usual_tolerance = 0.01;

bool is_trained(Precision precision) {
  return precision == Precision::fp32 || precision == Precision::bf16 ||
         precision == Precision::fp8;
}

}  // namespace

void add_comparison_flags(Flags& flags) {
  flags.group("Comparing precisions");
  flags.add_value("--compare-precision", "A,B",
                  "train in both, such as bf16,fp8, from the same weights and data, and compare "
                  "losses, gradients and casts");
  flags.add_value("--tolerance", "SHARE",
                  "mean gap of the losses that is accepted, such as 1% (the default)");
}

std::optional<PrecisionComparisonOptions> read_comparison(const Flags& flags,
                                                          const TrainingRequest& request,
                                                          Errors& faults) {
  const auto tolerance = flags.quantity("--tolerance", Dimension::ratio, faults);
  if (!flags.given("--compare-precision")) {
    if (tolerance) {
      faults.push_back({"--tolerance", "is for --compare-precision", "add it, or leave this out"});
    }
    return std::nullopt;
  }
  const std::size_t before = faults.size();
  const std::vector<std::string> names = flags.text_list("--compare-precision", faults);
  PrecisionComparisonOptions comparison;
  if (names.size() != 2) {
    faults.push_back({"--compare-precision", fmt::format("names {} precisions", names.size()),
                      "give two, such as bf16,fp8"});
  } else {
    for (std::size_t i = 0; i < 2; ++i) {
      const auto precision = parse_name<Precision>(names[i], "--compare-precision");
      collect(faults, precision);
      if (!precision) continue;
      comparison.precisions[i] = *precision;
      if (!is_trained(*precision)) {
        faults.push_back({"--compare-precision", fmt::format("{} is not trained", names[i]),
                          "use fp32, bf16 or fp8"});
      }
    }
  }
  if (flags.given("--precision")) {
    faults.push_back({"--precision", "names a third beside --compare-precision", "leave it out"});
  }
  if (request.ranks != RankKind::threads) {
    faults.push_back({"--compare-precision", "runs on threads of one process only",
                      "leave out --ranks and the launcher"});
  }
  if (request.save || request.resume) {
    faults.push_back({"--compare-precision", "trains two models, and saves or resumes neither",
                      "leave out --save and --resume"});
  }
  const std::array<std::pair<const char*, bool>, 3> of_one_training{
      {{"--init-from", request.weights.has_value()},
       {"--json-log", request.json_log.has_value()},
       {"--trace", request.trace.has_value()}}};
  for (const auto& [flag, given] : of_one_training) {
    if (!given) continue;
    faults.push_back({flag, "is for one training, and --compare-precision makes two",
                      "leave it out; --json has every step of both"});
  }
  if (faults.size() > before) return std::nullopt;
  comparison.training = request.options;
  comparison.steps = request.steps;
  comparison.tolerance = tolerance.value_or(usual_tolerance);
  return comparison;
}

ExitCode run_comparison(const PrecisionComparisonOptions& comparison, const TrainingRun& run,
                        const std::stop_token& stop) {
  PrecisionComparison result;
  PlaceRank place;
  if (const auto& gpu = run.request.gpu) {
    place = [&gpu](World& host) { return world_on_gpu(host, *gpu); };
  }
  try {
    ProgressBar bar("comparing", terminal_of(stderr));
    result = compare_precision(
        comparison, sample_reader(run),
        [&](std::int64_t step, const std::array<double, 2>& /*losses*/) {
          bar.update(step + 1, comparison.steps);
          // A rank that fails ends them all.
          if (stop.stop_requested()) throw std::runtime_error("interrupted");
        },
        place);
  } catch (const std::exception&) {
    if (!stop.stop_requested()) throw;
    return ExitCode::interrupted;
  }
  const ExitCode printed =
      print(run.request.json ? to_json_text(to_json(result)) : to_text(result));
  if (printed != ExitCode::done) return printed;
  return result.within_tolerance() ? ExitCode::done : ExitCode::check_failed;
}

}  // namespace kumihimo
