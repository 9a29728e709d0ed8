#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "cli/flags.hpp"
#include "measure/machine.hpp"
#include "search/search_space.hpp"
#include "sweep/process_trials.hpp"
#include "sweep/study_loop.hpp"

namespace kumihimo {

enum class SweepRanks : std::uint8_t { threads, mpi, emulated };

/// What `kumihimo sweep` was asked to do.
struct SweepRequest {
  std::filesystem::path store;
  std::string study;
  TrainingJob job;
  int ranks = 0;
  SweepRanks rank_kind = SweepRanks::threads;
  std::string cluster_name;  ///< "here", or whose links emulated ranks use
  std::optional<Cluster> links;
  Bytes device_memory = 0;
  SearchSpace space;
  StrategyOptions strategy;
  Budget budget;
  MeasurementRules rules;
  double timeout_s = 600;
  std::int64_t control_every = 8;
  std::filesystem::path program;  ///< this one
  std::filesystem::path trainer;
  std::vector<std::string> model_arguments;  ///< the model's and the data's flags, for train
  bool retry_errors = false;
  bool take_over = false;
  bool measure_again = false;
  bool measure_stack = false;  ///< start from what is measured here, not from strategy.base itself
  bool dry_run = false;
  std::string settings;  ///< JSON: what a resumed sweep must ask for again
};

void add_sweep_flags(Flags& flags);

/// Nothing if there is a fault.
std::optional<SweepRequest> read_sweep(const Flags& flags, Errors& faults);

}  // namespace kumihimo
