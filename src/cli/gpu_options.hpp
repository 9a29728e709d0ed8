#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/flags.hpp"
#include "cli/training_request.hpp"
#include "comm/world.hpp"

namespace kumihimo {

/// The flags of --backend cuda.
void add_gpu_flags(Flags& flags);

/// Loads the CUDA back end and chooses GPUs; nothing, with all faults, where that cannot be.
/// `ranks_here`: threads of this process, or one where each process is a rank.
std::optional<GpuRequest> read_gpu_flags(const Flags& flags, int ranks_here, int ranks,
                                         Errors& faults);

/// Refuses GPUs that are not there, and those that this program cannot compute on among the GPUs of
/// this process's `ranks` ranks, of which `first_rank` is the first on this machine. Returns these;
/// no other GPU is begun to be used. Requires a GPU for each rank, or one for all.
std::vector<int> judge_gpus(const GpuRequest& request, int first_rank, int ranks, Errors& faults);

/// Heads that flash attention is to work on.
struct FlashHeads {
  DType dtype = DType::bf16;
  std::int64_t seq_length = 0;
  std::int64_t head_dim = 0;
};
/// Refuses heads that no flash attention of the request's GPUs takes, at `flag`, with that remedy.
void judge_flash_attention(const GpuRequest& request, const FlashHeads& heads, const char* flag,
                           const char* remedy, Errors& faults);

/// Refuses flags of --backend cuda beside another back end.
void judge_no_gpu_flags(const Flags& flags, Errors& faults);

/// Opens this rank's GPU and lays the world over it: threads on one GPU share it, others are
/// connected by NCCL. Called by all ranks; `host` outlives what is returned.
std::shared_ptr<World> world_on_gpu(World& host, const GpuRequest& request);

/// What a rank that shares its GPU does while it waits for it (Gpu::set_watch): ends the wait by
/// PeerFailure when another rank has failed, or when `timeout_s` have passed. `host` outlives it.
std::function<void(double)> watch_of_shared_gpu(World& host, double timeout_s);

/// The number of this process among those of its machine, as its launcher says.
int local_rank();

/// What the vendor states for a GPU of that name, by the catalog's clusters.
struct StatedPeak {
  double flop_per_s = 0;  ///< dense, of one GPU
  std::string cluster;    ///< whose file says so
};
std::optional<StatedPeak> stated_peak(const std::string& gpu_name, Precision precision);

}  // namespace kumihimo
