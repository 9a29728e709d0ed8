#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "simulator/predict.hpp"

// A search's figures as people read them: on the terminal and, compiled a second time, in the page.

namespace kumihimo {

struct PredictionText {
  std::string mfu, mfu_causal, step, error_band, tokens_per_s_per_device, memory, fits, bubble,
      communication;
};
PredictionText to_text(const Prediction& prediction);

/// Reasons with the layouts that they rule out, most layouts first.
std::vector<std::pair<std::string, std::int64_t>> most_first(
    const std::map<std::string, std::int64_t>& reasons);

}  // namespace kumihimo
