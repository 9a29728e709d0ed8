#pragma once

#include <cstdint>
#include <memory>

#include "cli/compute_peak.hpp"
#include "cli/training_request.hpp"
#include "data/batches.hpp"
#include "data/token_source.hpp"
#include "engine/pipeline.hpp"

namespace kumihimo {

/// A request with its data at hand. What the ranks of a process share.
struct TrainingRun {
  TrainingRequest request;
  std::unique_ptr<TokenSource> tokens;
  SampleOrder order;
};

/// Opens the request's data; an Error where they are unreadable, too short or beyond the model's
/// vocabulary.
Expected<TrainingRun> open_training_run(const TrainingRequest& request);

/// Refers to `run`.
ReadSamples sample_reader(const TrainingRun& run);

/// A number below 2^52 that differs between runs whose results would differ: for ranks of several
/// processes to compare, as numbers that a double holds exactly.
std::int64_t fingerprint(const TrainingRun& run);

/// What the ranks turned out to be, once they stood.
struct RankSetup {
  std::string_view backend;  ///< World::backend
  int ranks = 1;
  std::string kernels;
  ComputePeak peak;

  bool emulated() const { return backend == "emulated"; }
};

}  // namespace kumihimo
