#include "calibrate/memory_spread.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/check.hpp"
#include "base/normal.hpp"

namespace kumihimo {
namespace {

// Another cause: anything that took a run by surprise, or a row that is wrong.
constexpr double other_cause = 0.02;

// Where few runs lie near the limit, all small spreads are as likely. A log-normal prior decides.
constexpr double usual_spread = 0.05;
constexpr double prior_log_spread = 1;

constexpr double least_spread = 0.005, most_spread = 1;

/// What was seen of one run, in logarithms.
struct Sight {
  enum class Kind : std::uint8_t { measured, fitted, did_not_fit };
  Kind kind;
  double over_predicted;  ///< measured, or the device's memory, over the prediction
};

std::vector<Sight> sights(std::span<const PredictableRun> runs,
                          std::span<const RunPrediction> predictions) {
  std::vector<Sight> seen;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (!predictions[i].has_figures()) continue;
    const MeasuredRun& run = runs[i].run;
    const double predicted = predictions[i].memory_gib * GiB;
    const double room = std::log(static_cast<double>(runs[i].cluster.device.memory) / predicted);
    if (run.memory_gb) {
      seen.push_back({Sight::Kind::measured, std::log(*run.memory_gb * GiB / predicted)});
    } else if (run.status == RunStatus::ok) {
      seen.push_back({Sight::Kind::fitted, room});
    } else if (run.status == RunStatus::out_of_memory) {
      seen.push_back({Sight::Kind::did_not_fit, room});
    }
  }
  return seen;
}

double log_likelihood(const std::vector<Sight>& seen, double spread) {
  const double from_usual = std::log(spread / usual_spread) / prior_log_spread;
  double sum = -from_usual * from_usual / 2;
  for (const Sight& sight : seen) {
    const double z = sight.over_predicted / spread;
    double as_predicted = 0;
    double otherwise = 0.5;
    switch (sight.kind) {
      case Sight::Kind::measured:
        as_predicted = normal_density(z) / spread;
        otherwise = 1;  // anywhere within a factor of e
        break;
      case Sight::Kind::fitted: as_predicted = normal_cdf(z); break;
      case Sight::Kind::did_not_fit: as_predicted = normal_cdf(-z); break;
    }
    sum += std::log((1 - other_cause) * as_predicted + other_cause * otherwise);
  }
  return sum;
}

}  // namespace

std::optional<double> memory_spread(std::span<const PredictableRun> runs,
                                    std::span<const RunPrediction> predictions) {
  KUMIHIMO_CHECK(runs.size() == predictions.size());
  const std::vector<Sight> seen = sights(runs, predictions);
  if (std::ranges::all_of(seen, [](const Sight& s) { return s.kind == Sight::Kind::fitted; })) {
    return std::nullopt;
  }
  // One dimension and a cheap function: every percent is looked at.
  double best = least_spread;
  double likeliest = log_likelihood(seen, best);
  for (double spread = least_spread; spread <= most_spread; spread *= 1.01) {
    const double likelihood = log_likelihood(seen, spread);
    if (likelihood > likeliest) {
      likeliest = likelihood;
      best = spread;
    }
  }
  return best;
}

}  // namespace kumihimo
