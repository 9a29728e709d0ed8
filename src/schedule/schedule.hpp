#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "layout/parallel_layout.hpp"

namespace kumihimo {

enum class ActionKind : std::uint8_t {
  forward,
  backward,         ///< input and weight gradients together
  backward_input,   ///< gradient of the layers' input only (zero-bubble)
  backward_weight,  ///< gradient of the weights only (zero-bubble)
};

/// One thing that a pipeline rank does: `kind` of micro-batch `micro_batch` through the model chunk
/// `chunk` that it holds (chunk 0 unless interleaved).
struct Action {
  ActionKind kind;
  std::int32_t micro_batch;
  std::int32_t chunk;

  bool operator==(const Action&) const = default;
};

/// What every pipeline rank does, in order. Sends and receives are implied: forward (m, v) needs
/// forward (m, v-1); backward (m, v) needs backward (m, v+1) and forward (m, v), where
/// v = virtual stage. Played by the simulator and by the engine alike.
struct Schedule {
  int pipeline_parallel = 1;        ///< ranks
  int virtual_stages_per_rank = 1;  ///< chunks of each rank
  int num_micro_batches = 1;
  std::vector<std::vector<Action>> actions;  ///< [pipeline rank][step]

  int virtual_stages() const { return pipeline_parallel * virtual_stages_per_rank; }
  /// Chunk c of rank r is virtual stage c * pipeline_parallel + r (Megatron's round-robin).
  int virtual_stage(int pipeline_rank, int chunk) const {
    return chunk * pipeline_parallel + pipeline_rank;
  }
};

/// 32 Mi actions are 384 MiB: a pipeline of 128 ranks with 8 chunks and 16,000 micro-batches.
inline constexpr std::int64_t max_schedule_actions = std::int64_t{1} << 25;

/// Micro-batches that every replica runs in a step. Requires dp x micro-batch to divide the global
/// batch, as a valid layout's does.
std::int64_t num_micro_batches(const TrainingJob& job, const ParallelLayout& layout);

/// Actions of all ranks of a schedule; the largest number there is where there are more. Requires
/// positive numbers.
std::int64_t num_actions(ScheduleKind kind, int pipeline_parallel, int virtual_stages_per_rank,
                         std::int64_t num_micro_batches);

/// The same of a valid layout's schedule.
std::int64_t num_actions(const TrainingJob& job, const ParallelLayout& layout);

/// Builds the schedule of `kind`.
/// GPipe: Huang et al. 2018, arXiv:1811.06965. 1F1B and its interleaved form: Narayanan et al.
/// 2021, arXiv:2104.04473 (num_micro_batches must be a multiple of pipeline_parallel when
/// interleaved). ZB-H1: Qi et al. 2024, arXiv:2401.10241: weight gradients fill the cool-down
/// bubble, with 1F1B's activation memory.
/// Refuses more than max_schedule_actions.
Expected<Schedule> make_schedule(ScheduleKind kind, int pipeline_parallel,
                                 int virtual_stages_per_rank, int num_micro_batches);

/// The schedule of a valid layout.
Expected<Schedule> make_schedule(const TrainingJob& job, const ParallelLayout& layout);

/// The largest number of micro-batch chunks whose forward has run and whose activations are still
/// held (until backward, or backward_weight), for every rank.
std::vector<int> peak_in_flight(const Schedule& schedule);

/// The same figure of one rank of make_schedule's schedules, without making one.
int peak_in_flight(ScheduleKind kind, int pipeline_parallel, int virtual_stages_per_rank,
                   int num_micro_batches, int pipeline_rank);

/// The most that such a rank holds at once, where every micro-batch in flight in its chunk c holds
/// `of_chunk[c]`. Requires as many as the layout has virtual stages per rank.
double peak_held(ScheduleKind kind, int pipeline_parallel, int num_micro_batches, int pipeline_rank,
                 std::span<const double> of_chunk);

/// The largest number of micro-batch chunks of such a rank that wait for their weight pass, the one
/// whose input pass goes on among them: 0 where backward is not split.
int peak_waiting(ScheduleKind kind, int num_micro_batches, int pipeline_rank);

}  // namespace kumihimo
