#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "search/search_space.hpp"
#include "simulator/predict.hpp"

namespace kumihimo {

/// What the best layout has the most or least of. Cost and total time are the step time in other
/// units, since the job, the devices and their price are given; mfu differs from them where
/// precisions with different peaks compete.
enum class Objective : std::uint8_t { mfu, step_time, cost, total_time };

struct SearchRequest {
  TrainingJob job;
  Cluster cluster;
  StackProfile profile;
  std::int64_t devices = 0;
  SearchSpace space;

  Objective objective = Objective::mfu;
  int limit = 10;  ///< layouts to return
  /// A layout counts as fitting if it does so with this probability, its fullest rank is predicted
  /// to use no more than max_memory_bytes, and the hosts hold what it offloads.
  double min_fits_probability = 0.5;
  double max_memory_bytes = std::numeric_limits<double>::infinity();
  int threads = 0;  ///< 0: one for each core. The result does not depend on it
};

/// Every reason why the request itself makes no sense: an empty list of values, a limit below 1 or
/// beyond 10,000, a probability that is none, a space beyond 10^9 layouts.
Errors request_faults(const SearchRequest& request);

struct RankedLayout {
  ParallelLayout layout;
  Prediction prediction;
};

/// Called now and then from one of the threads, never from two at once. `total` is the size of the
/// space.
using SearchProgress = std::function<void(std::int64_t done, std::int64_t total)>;

struct SearchResult {
  std::vector<RankedLayout> best;  ///< best first, at most `limit`
  bool complete = true;            ///< false: stopped, `best` is the best so far

  // Distinct layouts judged: considered = invalid + unfit + fitting.
  std::int64_t considered = 0;
  std::int64_t twins = 0;  ///< other spellings of a considered layout; not counted there
  std::int64_t invalid = 0;
  std::int64_t unfit = 0;  ///< does not fit in memory
  std::int64_t fitting = 0;
  std::int64_t simulated = 0;
  /// A lower bound of the step time shows that it is not among the best: fitting - simulated, when
  /// complete.
  std::int64_t pruned = 0;

  std::map<std::string, std::int64_t> invalid_reasons;  ///< first_fault's phrase -> layouts
  /// "activations", "weights", ...: the largest category on the fullest rank -> layouts; "host
  /// memory" where the device holds its part, and the host not the offloaded one.
  std::map<std::string, std::int64_t> unfit_categories;

  /// The layout that would be the best if memory did not count, where it does not fit.
  std::optional<RankedLayout> best_unfit;
  /// If nothing fits: the layout that needs least of what is allowed.
  std::optional<RankedLayout> smallest_unfit;
};

/// Judges every layout of the space and returns the best. Exhaustive: a layout is left out only
/// where a lower bound of its step time proves that `limit` others are better. Equal figures are
/// ordered by simplicity: lower tp, pp, cp, virtual stages, ZeRO stage, then the order of the lists
/// in the space. The result is the same for any number of threads.
/// Requires request_faults() to be empty. When `stop` is requested, returns within milliseconds to
/// some tenths of a second with what it has.
SearchResult search(const SearchRequest& request, std::stop_token stop = {},
                    const SearchProgress& progress = {});

/// Whether a layout with that prediction fits under the request's limits, offloaded states in the
/// hosts included.
bool fits(const Prediction& prediction, const SearchRequest& request);

/// Whether the hosts hold the offloaded states.
bool fits_host(const Prediction& prediction, const Cluster& cluster);

/// The largest category of the fullest rank ("activations") and its bytes.
struct LargestMemory {
  std::string name;
  double bytes = 0;
};
LargestMemory largest_memory_category(const Prediction& prediction);

/// Price of 10^12 trained tokens; nothing where the cluster states no price.
std::optional<Money> cost_per_trillion_tokens(const Prediction& prediction, const Cluster& cluster);

/// Seconds to train `tokens` on `devices` devices.
double training_seconds(const Prediction& prediction, double tokens, std::int64_t devices);

}  // namespace kumihimo
