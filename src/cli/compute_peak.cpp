#include "cli/compute_peak.hpp"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "cli/gpu_options.hpp"
#include "comm/connected_gpus_world.hpp"
#include "engine/trainer.hpp"
#include "measure/product_rate.hpp"

namespace kumihimo {
namespace {

double measure_core(RankClock& clock, Backend backend, DType dtype) {
  DeviceMemory memory(make_host_memory());
  Workspace workspace(memory);
  const std::unique_ptr<Kernels> kernels = make_kernels(backend, 1, workspace);
  return best_product_rate(*kernels, workspace, dtype, [&] { return clock.now_s(); });
}

double measure_gpu(RankClock& clock, Gpu& gpu, DType dtype) {
  DeviceMemory memory(gpu.make_memory());
  Workspace workspace(memory);
  const std::unique_ptr<Kernels> kernels = gpu.make_kernels(workspace);
  return best_product_rate(
      *kernels, workspace, dtype, [&] { return clock.now_s(); }, products_of_gpus);
}

/// Threads that share a GPU have it together.
double gpus_of_this_rank(const World& world, bool shared) {
  return shared ? 1.0 / world.size() : 1;
}

/// Ranks that share this machine: the launcher says.
int ranks_here(const World& world) {
  if (world.backend() != "mpi") return world.size();
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "PMI_LOCAL_SIZE"}) {
    const char* text = std::getenv(name);
    const int ranks = text == nullptr ? 0 : std::atoi(text);
    if (ranks > 0) return ranks;
  }
  return world.size();
}

double cores_of_this_rank(const World& world, int threads) {
  const unsigned cores = std::thread::hardware_concurrency();
  if (world.emulated() || cores == 0) return threads;
  return std::min<double>(threads, static_cast<double>(cores) / ranks_here(world));
}

}  // namespace

ComputePeak compute_peak(World& world, Agreement& agreement, const TrainingOptions& options,
                         std::optional<double> core) {
  ComputePeak peak;
  peak.measured = !core.has_value();
  peak.core_flop_per_s = core.value_or(0);
  if (!core && world.rank() == 0) {
    const DType dtype = storage_dtype(options.layout.precision);
    peak.core_flop_per_s = world.gpu() != nullptr
                               ? measure_gpu(world.clock(), *world.gpu(), dtype)
                               : measure_core(world.clock(), options.backend, dtype);
  }
  peak.core_flop_per_s = agreement.highest(peak.core_flop_per_s);
  if (world.gpu() == nullptr) {
    peak.cores = agreement.sum(cores_of_this_rank(world, options.threads_per_rank));
    return peak;
  }
  const bool shared = dynamic_cast<const ConnectedGpusWorld*>(&world) == nullptr;
  peak.cores = agreement.sum(gpus_of_this_rank(world, shared));
  const auto stated = stated_peak(world.gpu()->facts().name, options.layout.precision);
  if (stated) {
    peak.stated_flop_per_s = stated->flop_per_s;
    peak.stated_by = stated->cluster;
  }
  return peak;
}

}  // namespace kumihimo
