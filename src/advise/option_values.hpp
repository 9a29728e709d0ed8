#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "advise/upgrade_option.hpp"
#include "search/best_by_needs.hpp"
#include "search/search.hpp"

namespace kumihimo {

/// Options taken: bit i is option i.
using OptionSet = std::uint32_t;

enum class AdviceGoal : std::uint8_t {
  speed,  ///< the shortest step
  cost,   ///< the cheapest step; needs a price of device-hours
};

/// Where the user is, and what is open to them.
struct AdviceRequest {
  TrainingJob job;
  Cluster cluster;
  StackProfile profile;
  std::int64_t devices = 0;
  /// Valid on the cluster. Taken as running, whatever its predicted memory.
  ParallelLayout current;
  std::vector<UpgradeOption> options;
  Prices prices;
  AdviceGoal goal = AdviceGoal::speed;
  std::optional<double> tokens;  ///< to train in all

  /// Splits and micro-batches to consider where they are open; empty lists: all that make sense.
  std::vector<int> tensor_parallel, pipeline_parallel, context_parallel, data_parallel;
  std::vector<int> micro_batch_size;
  double min_fits_probability = 0.5;
  int threads = 0;
};

/// Why the request makes no sense: the current layout's faults, a price that the goal needs, an
/// option whose cluster has none, amounts in several currencies.
Errors request_faults(const AdviceRequest& request);

/// A machine that some options lead to; the first is the user's own.
struct Machine {
  OptionSet options = 0;
  Cluster cluster;
  StackProfile profile;
  std::int64_t devices = 0;
  std::optional<Money> price_per_device_hour;
};

/// The best that a set of options allows.
struct Outcome {
  std::size_t machine = 0;  ///< of OptionValues::machines()
  RankedLayout ranked;
  double score = 0;  ///< what the goal makes least: seconds, or money, of a step
};

/// The best outcome for every set of options. An option that is taken is available, never forced:
/// more options are never worse. One whose requirements are not taken does nothing. Exact, by one
/// pass over the layouts for each machine that options lead to (best_by_needs), not by one search
/// for each set.
class OptionValues {
 public:
  /// Requires request_faults() to be empty; `request` outlives this. `combined_machines`: false
  /// looks at each hardware option alone, in sets that hold one of them.
  OptionValues(const AdviceRequest& request, bool combined_machines);

  /// `relayout`: split and micro-batch may be chosen anew as well.
  Outcome at(OptionSet taken, bool relayout = false) const;
  /// Only its score: cheap.
  double score(OptionSet taken, bool relayout = false) const;
  /// How much better than the start: score at the start / score - 1.
  double gain(OptionSet taken, bool relayout = false) const {
    return score(0) / score(taken, relayout) - 1;
  }

  const std::vector<Machine>& machines() const { return machines_; }
  /// Whether the start is predicted to fit in memory.
  bool start_fits() const { return start_fits_; }

 private:
  struct Best {
    std::size_t machine = 0;
    const RankedLayout* ranked = nullptr;
    double score = 0;
  };
  Best best(OptionSet taken, bool relayout) const;
  OptionSet effective(OptionSet taken) const;
  Needs needs_of_options(OptionSet taken, bool relayout) const;

  const AdviceRequest& request_;
  std::vector<Machine> machines_;
  std::vector<BestByNeeds> best_;    ///< by machine
  std::vector<OptionSet> required_;  ///< by each option
  std::vector<int> need_of_option_;  ///< bit of each option; negative: hardware alone
  Needs relayout_needs_ = 0;
  RankedLayout start_;
  double start_score_ = 0;
  bool start_fits_ = true;
};

/// Money that a step costs; nothing where no price is known.
std::optional<double> step_cost_of(const Machine& machine, double step_s);

}  // namespace kumihimo
