#include <fmt/format.h>

#include "layout/validate.hpp"
#include "search/search.hpp"

namespace kumihimo {
namespace {

constexpr std::int64_t largest_space = 1'000'000'000;
constexpr int largest_limit = 10'000;
constexpr int most_threads = 1024;

}  // namespace

Errors request_faults(const SearchRequest& request) {
  Errors errors;
  const SearchSpace& space = request.space;
  const auto degrees = [&](const char* where, const std::vector<int>& values, int least) {
    if (values.empty()) errors.push_back({where, "has no values", "name at least one"});
    for (const int value : values) {
      if (value >= least && value <= max_degree) continue;
      errors.push_back({where, fmt::format("has the value {}", value),
                        fmt::format("give whole numbers from {} to {}", least, max_degree)});
    }
  };
  const auto choices = [&](const char* where, const auto& values) {
    if (values.empty()) errors.push_back({where, "has no values", "name at least one"});
  };
  degrees("search: tp", space.tensor_parallel, 1);
  degrees("search: pp", space.pipeline_parallel, 1);
  degrees("search: cp", space.context_parallel, 1);
  if (!space.data_parallel.empty()) degrees("search: dp", space.data_parallel, 1);
  degrees("search: micro-batch", space.micro_batch_size, 1);
  degrees("search: zero", space.zero_stage, 0);
  degrees("search: zero-group", space.zero_group, 0);
  choices("search: schedule", space.schedules);
  choices("search: recompute", space.recompute);
  choices("search: sp", space.sequence_parallel);
  choices("search: attention", space.attention);
  choices("search: norm", space.norm);
  choices("search: precision", space.precision);
  choices("search: gradient-dtype", space.gradient_dtype);
  choices("search: overlap-dp", space.overlap_data_parallel);
  choices("search: overlap-tp", space.overlap_tensor_parallel);
  choices("search: offload", space.offload);
  for (const ScheduleChoice& schedule : space.schedules) {
    if (schedule.virtual_stages_per_rank >= 1 && schedule.virtual_stages_per_rank <= max_degree) {
      continue;
    }
    errors.push_back({"search: vpp",
                      fmt::format("has the value {}", schedule.virtual_stages_per_rank),
                      fmt::format("give whole numbers from 1 to {}", max_degree)});
  }
  if (space.size() > largest_space) {
    errors.push_back({"search: space", fmt::format("has {} layouts", space.size()),
                      fmt::format("narrow it to {} or fewer", largest_space)});
  }
  if (request.limit < 1 || request.limit > largest_limit) {
    errors.push_back({"search: limit", fmt::format("is {}", request.limit),
                      fmt::format("give a whole number from 1 to {}", largest_limit)});
  }
  const double probability = request.min_fits_probability;
  if (!(probability >= 0 && probability <= 1)) {
    errors.push_back({"search: probability to fit", fmt::format("is {}", probability),
                      "give a number from 0 to 1"});
  }
  if (!(request.max_memory_bytes > 0)) {
    errors.push_back({"search: memory limit", fmt::format("is {} bytes", request.max_memory_bytes),
                      "give a positive size"});
  }
  if (request.threads < 0 || request.threads > most_threads) {
    errors.push_back({"search: threads", fmt::format("is {}", request.threads),
                      fmt::format("give 1 to {}, or 0 for all cores", most_threads)});
  }
  return errors;
}

std::optional<Money> cost_per_trillion_tokens(const Prediction& prediction,
                                              const Cluster& cluster) {
  if (!cluster.price_per_device_hour) return std::nullopt;
  const auto [amount, currency] = *cluster.price_per_device_hour;
  const double device_hours = 1e12 / prediction.tokens_per_s_per_device / 3600;
  return Money{device_hours * amount, currency};
}

double training_seconds(const Prediction& prediction, double tokens, std::int64_t devices) {
  return tokens / (prediction.tokens_per_s_per_device * static_cast<double>(devices));
}

}  // namespace kumihimo
