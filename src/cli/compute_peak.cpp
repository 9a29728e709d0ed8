#include "cli/compute_peak.hpp"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "engine/trainer.hpp"

namespace kumihimo {
namespace {

/// Larger products run no faster; smaller ones are for slow back ends.
constexpr std::int64_t largest_side = 1024;
constexpr double long_enough_s = 0.02;
constexpr double measured_for_s = 0.3;

/// Square products of one thread, each of 2 side^3 FLOPs.
class TimedProduct {
 public:
  TimedProduct(Backend backend, RankClock& clock)
      : clock_(clock),
        memory_(make_host_memory()),
        workspace_(memory_),
        kernels_(make_kernels(backend, 1, workspace_)) {}

  double seconds(std::int64_t side, DType dtype) {
    const Workspace::Scope scope(workspace_);
    const Matrix a = filled(side, dtype), b = filled(side, dtype), c = filled(side, dtype);
    const double begin_s = clock_.now_s();
    kernels_->matmul(a, Transpose::no, b, Transpose::yes, c, Accumulate::no);
    return clock_.now_s() - begin_s;
  }

 private:
  Matrix filled(std::int64_t side, DType dtype) {
    const Matrix x = workspace_.take(side, side, dtype);
    kernels_->fill(x, 0.5f);
    return x;
  }

  RankClock& clock_;
  DeviceMemory memory_;
  Workspace workspace_;
  std::unique_ptr<Kernels> kernels_;
};

double flop_rate(std::int64_t side, double seconds) {
  return 2.0 * static_cast<double>(side * side * side) / seconds;
}

/// The best of some products that are as large as the back end's speed allows.
double measure_core(RankClock& clock, Backend backend, DType dtype) {
  TimedProduct product(backend, clock);
  std::int64_t side = 64;
  while (side < largest_side && product.seconds(side, dtype) < long_enough_s) side *= 2;
  const double begin_s = clock.now_s();
  double best = 0;
  do {
    best = std::max(best, flop_rate(side, product.seconds(side, dtype)));
  } while (clock.now_s() - begin_s < measured_for_s);
  return best;
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
    peak.core_flop_per_s =
        measure_core(world.clock(), options.backend, storage_dtype(options.layout.precision));
  }
  peak.core_flop_per_s = agreement.highest(peak.core_flop_per_s);
  peak.cores = agreement.sum(cores_of_this_rank(world, options.threads_per_rank));
  return peak;
}

}  // namespace kumihimo
