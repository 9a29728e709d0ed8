#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/error.hpp"

namespace kumihimo {

/// One process's place in a job whose processes find each other over TCP: rank 0 waits at
/// `host`:`port` for the others.
struct TcpPlace {
  int rank = 0;
  int size = 1;
  int local_rank = 0;  ///< among the processes of this machine
  std::string host;
  int port = 0;
};

/// The value of an environment variable.
using Environment = std::function<std::optional<std::string>(const char* name)>;
Environment process_environment();

/// Whether a launcher has set RANK, WORLD_SIZE and MASTER_ADDR, as torchrun does. Slurm alone says
/// nothing: the commands of a batch script see SLURM_PROCID too.
bool names_a_tcp_job(const Environment& environment);

/// RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT (29500 where it is not set), as
/// torchrun sets them; what is missing of them comes from SLURM_PROCID, SLURM_NTASKS,
/// SLURM_LOCALID, the first machine of SLURM_STEP_NODELIST, and a port that follows from
/// SLURM_JOB_ID. All faults.
Expected<TcpPlace> read_tcp_place(const Environment& environment);

/// "node" of "node", "gpu07" of "gpu[07-10,12],login1": Slurm's notation.
std::string first_of_node_list(const std::string& list);

}  // namespace kumihimo
