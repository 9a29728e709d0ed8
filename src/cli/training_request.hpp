#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster/cluster.hpp"
#include "comm/gpu_communicator.hpp"
#include "engine/training_options.hpp"

namespace kumihimo {

/// What the ranks of a job are: threads of this process, processes of an MPI job or ones that find
/// each other over TCP, or threads with virtual clocks on the links of a cluster.
enum class RankKind : std::uint8_t { threads, mpi, tcp, emulated };

/// --backend cuda: the GPUs of this process's ranks, and what it takes to use them.
struct GpuRequest {
  std::shared_ptr<CudaBackend> backend;
  std::shared_ptr<GpuConnector> connector;  ///< null where no two GPUs are to be connected
  std::vector<int> gpus;                    ///< of the ranks of this machine, or one for all
  bool shared = false;                      ///< all ranks are threads on that one
  GpuOptions options;
  double timeout_s = 600;
};

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
  double rendezvous_timeout_s = 60;            ///< of ranks over TCP
  std::optional<GpuRequest> gpu;               ///< --backend cuda
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
