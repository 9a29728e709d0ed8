#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "store/store.hpp"

namespace kumihimo {

/// One line of a trainer's --json-log (kumihimo.train-step/1), as far as a sweep needs it.
struct LoggedStep {
  std::int64_t step = 0;
  double step_time_s = 0;
  std::optional<double> loss;
  double mfu = 0;
  double hfu = 0;
  double tokens_per_s = 0;
  double peak_memory_bytes = 0;
};

/// A line without its newline; nothing if it is no such line.
std::optional<LoggedStep> parse_logged_step(const std::string& line);

/// Reads a log that another process writes: each call gives the lines that were completed since the
/// last one. A file that is not there yet has none.
class StepLog {
 public:
  explicit StepLog(std::filesystem::path path) : path_(std::move(path)) {}
  std::vector<LoggedStep> read_new();

 private:
  std::filesystem::path path_;
  std::streamoff position_ = 0;
  std::string rest_;
};

struct MeasurementRules {
  std::int64_t warmup_steps = 2;
  std::int64_t least_steps = 6;  ///< fewer have no 95 % interval of their median
  std::int64_t most_steps = 40;
  /// Half the 95 % confidence interval of the median, as a share of the median, that is enough.
  double spread = 0.01;
};

struct StepSummary {
  std::int64_t timed_steps = 0;
  double median_s = 0;
  double spread = 0;  ///< half the 95 % confidence interval of the median / median
  std::int64_t outliers = 0;
};

/// The value below which half of them lie; of an even number, the mean of the two in the middle.
/// Requires one at least.
double median(std::vector<double> values);

/// Of the steps after the warm-up. The interval is that of order statistics: it assumes nothing
/// about how step times are distributed (Conover 1999, section 3.2). Requires a step.
StepSummary summarise_steps(const std::vector<double>& seconds);

/// Whether enough was measured.
bool is_settled(const StepSummary& summary, const MeasurementRules& rules);

}  // namespace kumihimo
