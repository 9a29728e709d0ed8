#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "comm/world.hpp"
#include "engine/linear_products.hpp"
#include "engine/model_states.hpp"
#include "engine/pipeline.hpp"
#include "engine/rank_groups.hpp"
#include "engine/recorded_passes.hpp"
#include "engine/step_recorder.hpp"
#include "engine/training_options.hpp"

namespace kumihimo {

/// Training cannot go on, for all ranks alike: a loss that is no number, for example.
class TrainingFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A step as all ranks together saw it.
struct StepReport {
  std::int64_t step = 0;     ///< 0, 1, ...
  double loss = 0;           ///< mean over the tokens of the global batch
  double gradient_norm = 0;  ///< before clipping
  double learning_rate = 0;
  double step_time_s = 0;  ///< of the slowest rank
  std::vector<StepTimes> rank_times;
  StepTimes mean_times;          ///< over ranks
  MemoryByCategory peak_memory;  ///< so far: of each category, the most that any rank held
  Bytes peak_memory_total = 0;   ///< of all categories together, the most that any rank held
  Bytes offloaded_memory = 0;    ///< in host memory, the most that any rank held
};

/// One rank's part of a training run, on the world's GPU where it has one. All ranks of the world
/// construct it with the same options and call the same functions in the same order. Memory beyond
/// the budget throws OutOfMemory, most of it already in the constructor.
class Trainer {
 public:
  /// Requires options without faults whose layout has as many devices as the world has ranks.
  Trainer(World& world, const TrainingOptions& options, ReadSamples read_samples);
  /// Ends the stream first: what is under way there uses the other members' memory.
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  const TrainingOptions& options() const { return options_; }
  std::int64_t steps_done() const { return step_; }
  std::int64_t samples_consumed() const { return samples_; }

  /// Forward and backward passes of a global batch, reduction, clipping, update.
  StepReport run_step();
  /// Call after the last step: does what that has left to the next one's forward pass. Throws what
  /// run_step throws, and waits as it does.
  void end_run() { states_->complete_update(); }

  // --- For saving and resuming, tests and comparisons

  ModelStates& states() { return *states_; }
  const LinearProducts& products() const { return *products_; }
  LinearProducts& products() { return *products_; }
  RankGroups& groups() { return groups_; }
  StepRecorder& recorder() { return recorder_; }
  const RecordedPasses& passes() const { return passes_; }
  DeviceMemory& memory() { return memory_; }
  /// What this rank holds in host memory, by offload.
  DeviceMemory& host_memory() { return host_memory_; }
  std::string kernels_description() const { return kernels_->description(); }
  /// Continues from there: the states have been set by the caller.
  void resume_at(std::int64_t step, std::int64_t samples);
  /// Layers that this rank computes, as numbered in the whole model; by LinearId::layer.
  std::vector<int> layers_of_this_rank() const;

 private:
  void initialise_weights();
  double mean_loss();
  double clip(double norm) const;
  void end_fp8_step();
  std::vector<StepTimes> times_of_all_ranks(const StepTimes& own);
  void summarise(StepReport& report, double begin_s);
  void reduce_over_all(std::vector<double>& values, Reduction reduction);

  TrainingOptions options_;
  World& world_;
  ReadSamples read_samples_;
  ShardShape shape_;
  DeviceMemory memory_;
  DeviceMemory host_memory_;
  Workspace workspace_;
  StepRecorder recorder_;
  std::unique_ptr<Kernels> kernels_;
  RankGroups groups_;
  std::unique_ptr<ModelStates> states_;
  std::unique_ptr<LinearProducts> products_;
  RecordedPasses passes_;
  std::unique_ptr<Pipeline> pipeline_;
  Buffer numbers_;  ///< small values on their way between ranks
  std::int64_t step_ = 0;
  std::int64_t samples_ = 0;
  std::int64_t steps_here_ = 0;  ///< since this object was made
};

/// The kernels of a back end on the host; an Error where the program was built without it. A GPU
/// makes its own.
Expected<std::unique_ptr<Kernels>> try_kernels(Backend backend, int threads, Workspace& workspace);
/// The same, for ranks: throws std::runtime_error, since flags were checked before any rank
/// started.
std::unique_ptr<Kernels> make_kernels(Backend backend, int threads, Workspace& workspace);

}  // namespace kumihimo
