#include "search/result_text.hpp"

#include <algorithm>
#include <fmt/format.h>

#include "base/number_text.hpp"

namespace kumihimo {

PredictionText to_text(const Prediction& prediction) {
  return {.mfu = percent(prediction.mfu),
          .mfu_causal = percent(prediction.mfu_causal),
          .step = step_text(prediction.step_s),
          .error_band = fmt::format("±{:.0f} %", 100 * prediction.error_band),
          .tokens_per_s_per_device = rate_text(prediction.tokens_per_s_per_device),
          .memory = format_bytes(prediction.peak_memory_bytes),
          .fits = fmt::format("{:.0f} %", 100 * prediction.fits_probability),
          .bubble = percent(prediction.bubble_fraction),
          .communication = percent(prediction.communication_fraction)};
}

std::vector<std::pair<std::string, std::int64_t>> most_first(
    const std::map<std::string, std::int64_t>& reasons) {
  std::vector<std::pair<std::string, std::int64_t>> sorted(reasons.begin(), reasons.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  return sorted;
}

}  // namespace kumihimo
