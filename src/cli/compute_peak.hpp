#pragma once

#include <optional>
#include <string>

#include "cli/agreement.hpp"
#include "comm/world.hpp"
#include "engine/training_options.hpp"

namespace kumihimo {

/// What MFU is measured against.
struct ComputePeak {
  double core_flop_per_s = 0;  ///< of a core, or of a GPU
  double cores = 0;            ///< or GPUs, that the ranks can use together
  bool measured = false;
  double stated_flop_per_s = 0;  ///< of a GPU, dense, as its vendor states it; 0: not known
  std::string stated_by;         ///< the cluster of the catalog that says so

  double flop_per_s() const { return core_flop_per_s * cores; }
  double all_stated_flop_per_s() const { return stated_flop_per_s * cores; }
};

/// The peak of one core times the cores that all ranks together can use: their threads, but of each
/// machine no more than it has. An emulated rank computes as if its cores were its own. `core`: the
/// peak of a core, or nothing: then rank 0 measures it with the options' back end and storage,
/// while the others wait. On GPUs: of one GPU, times the GPUs. Called by all ranks, `world` being
/// that on which they compute.
ComputePeak compute_peak(World& world, Agreement& agreement, const TrainingOptions& options,
                         std::optional<double> core);

}  // namespace kumihimo
