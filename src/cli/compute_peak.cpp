#include "cli/compute_peak.hpp"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "engine/trainer.hpp"

namespace kumihimo {
namespace {

/// Larger products run no faster; smaller ones are for slow back ends.
constexpr std::int64_t smallest_side = 256, largest_side = 1024;
constexpr double long_enough_s = 0.02;
constexpr double measured_for_s = 0.1;  ///< for each size

/// Square products of one thread, each of 2 side^3 FLOPs.
class TimedProduct {
 public:
  TimedProduct(Kernels& kernels, Workspace& workspace, std::int64_t side, DType dtype)
      : kernels_(kernels),
        scope_(workspace),
        a_(workspace.take(side, side, dtype)),
        b_(workspace.take(side, side, dtype)),
        c_(workspace.take(side, side, dtype)),
        flop_(2.0 * static_cast<double>(side * side * side)) {
    for (const Matrix& x : {a_, b_, c_}) kernels.fill(x, 0.5f);
  }

  double seconds(RankClock& clock) {
    const double begin_s = clock.now_s();
    kernels_.matmul(a_, Transpose::no, b_, Transpose::yes, c_, Accumulate::no);
    return clock.now_s() - begin_s;
  }

  /// The best of `measured_for_s`, FLOP/s: what disturbs a product only slows it.
  double rate(RankClock& clock) {
    const double begin_s = clock.now_s();
    double best = 0;
    do {
      best = std::max(best, flop_ / seconds(clock));
    } while (clock.now_s() - begin_s < measured_for_s);
    return best;
  }

 private:
  Kernels& kernels_;
  Workspace::Scope scope_;
  Matrix a_, b_, c_;
  double flop_;
};

/// The best of products of several sizes, up to one that takes long enough to be timed well: which
/// size is best differs between processors, precisions and back ends.
double measure_core(RankClock& clock, Backend backend, DType dtype) {
  DeviceMemory memory(make_host_memory());
  Workspace workspace(memory);
  const std::unique_ptr<Kernels> kernels = make_kernels(backend, 1, workspace);
  double best = 0;
  for (std::int64_t side = 64; side <= largest_side; side *= 2) {
    TimedProduct product(*kernels, workspace, side, dtype);
    product.seconds(clock);  // the first of a size compiles its code
    const bool last = product.seconds(clock) >= long_enough_s || side == largest_side;
    if (side >= smallest_side || last) best = std::max(best, product.rate(clock));
    if (last) break;
  }
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
