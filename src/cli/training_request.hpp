#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "cluster/cluster.hpp"
#include "engine/training_options.hpp"

namespace kumihimo {

/// What the ranks of a job are: threads of this process, processes of an MPI job, or threads with
/// virtual clocks on the links of a cluster.
enum class RankKind : std::uint8_t { threads, mpi, emulated };

/// Where training states are saved, and when besides after the last step.
struct SaveRequest {
  std::filesystem::path folder;
  std::int64_t every = 100;  ///< steps
  int keep = 2;              ///< states; 0: all
};

/// What `kumihimo train` was asked to do: the same on every rank.
struct TrainingRequest {
  TrainingOptions options;
  std::int64_t steps = 100;
  std::string data;  ///< a path, "synthetic", or empty: the text that ships with the program
  RankKind ranks = RankKind::threads;
  std::optional<Cluster> cluster;              ///< of emulated ranks
  std::optional<double> core_peak_flop_per_s;  ///< nothing: measured at start

  std::optional<SaveRequest> save;
  std::optional<std::filesystem::path> resume;   ///< a state, or a folder of states
  bool verify_state = false;                     ///< read the resumed state's checksums
  std::optional<std::filesystem::path> weights;  ///< to begin with, as Hugging Face stores them

  std::int64_t warmup_steps = 0;  ///< left out of the summary's times
  std::int64_t log_every = 1;     ///< steps between rows
  bool profile_data = false;
  bool json = false;
  std::optional<std::filesystem::path> json_log;
  std::optional<std::filesystem::path> trace;
};

}  // namespace kumihimo
