#include "sweep/step_times.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/check.hpp"

namespace kumihimo {

std::optional<LoggedStep> parse_logged_step(const std::string& line) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object() || json.value("schema", "") != "kumihimo.train-step/1") return std::nullopt;
  const auto number = [&](const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_number() ? found->get<double>() : 0.0;
  };
  LoggedStep step{.step = static_cast<std::int64_t>(number("step")),
                  .step_time_s = number("step_time_s"),
                  .mfu = number("mfu"),
                  .hfu = number("hfu"),
                  .tokens_per_s = number("tokens_per_s"),
                  .peak_memory_bytes = number("peak_memory_bytes")};
  if (json.contains("loss") && json["loss"].is_number()) step.loss = json["loss"].get<double>();
  if (step.step <= 0 || !(step.step_time_s > 0)) return std::nullopt;
  return step;
}

std::vector<LoggedStep> StepLog::read_new() {
  std::vector<LoggedStep> steps;
  std::ifstream file(path_, std::ios::binary);
  if (!file.seekg(position_)) return steps;
  const std::string added{std::istreambuf_iterator<char>(file), {}};
  position_ += static_cast<std::streamoff>(added.size());
  rest_ += added;
  for (std::size_t end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n')) {
    if (const auto step = parse_logged_step(rest_.substr(0, end))) steps.push_back(*step);
    rest_.erase(0, end + 1);
  }
  return steps;
}

double median(std::vector<double> values) {
  KUMIHIMO_CHECK(!values.empty());
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

StepSummary summarise_steps(const std::vector<double>& seconds) {
  KUMIHIMO_CHECK(!seconds.empty());
  std::vector<double> sorted = seconds;
  std::ranges::sort(sorted);
  const auto count = static_cast<std::int64_t>(sorted.size());
  StepSummary summary{.timed_steps = count, .median_s = median(sorted)};
  // Ranks that enclose the median with 95 %; with fewer than six steps not even the extremes do.
  const double half_width = 0.98 * std::sqrt(static_cast<double>(count));
  const auto low = std::max<std::int64_t>(
      0, static_cast<std::int64_t>(std::floor(static_cast<double>(count) / 2 - half_width)));
  const std::int64_t high = count - 1 - low;
  summary.spread =
      (sorted[static_cast<std::size_t>(high)] - sorted[static_cast<std::size_t>(low)]) / 2 /
      summary.median_s;
  std::vector<double> deviations;
  for (const double value : sorted) deviations.push_back(std::abs(value - summary.median_s));
  constexpr double normal = 1.4826, far = 5;
  const double limit = far * normal * median(deviations);
  for (const double deviation : deviations) summary.outliers += deviation > limit && limit > 0;
  return summary;
}

bool is_settled(const StepSummary& summary, const MeasurementRules& rules) {
  if (summary.timed_steps >= rules.most_steps) return true;
  return summary.timed_steps >= rules.least_steps && summary.spread <= rules.spread;
}

}  // namespace kumihimo
