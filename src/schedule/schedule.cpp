#include "schedule/schedule.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <limits>

#include "layout/names.hpp"

namespace kumihimo {
namespace {

using Actions = std::vector<Action>;

/// Forwards that a rank runs before its first backward.
std::int64_t warm_up_forwards(ScheduleKind kind, int pipeline_parallel, int virtual_stages_per_rank,
                              std::int64_t num_micro_batches, int pipeline_rank) {
  const std::int64_t later_ranks = pipeline_parallel - pipeline_rank - 1;
  const std::int64_t forwards = num_micro_batches * virtual_stages_per_rank;
  switch (kind) {
    case ScheduleKind::gpipe: return forwards;
    case ScheduleKind::one_forward_one_backward:
    case ScheduleKind::zb_h1: return std::min(forwards, later_ranks);
    case ScheduleKind::interleaved: {
      const std::int64_t earlier_chunks = virtual_stages_per_rank - 1;
      return std::min(forwards, 2 * later_ranks + earlier_chunks * pipeline_parallel);
    }
  }
  return forwards;
}

// All schedules run the backward passes of a stage in the order of the micro-batches (the figure of
// GPipe reverses it): gradients are then summed in the same order under every schedule, and the
// choice of schedule cannot change the result by a single bit.

Actions gpipe_actions(int num_micro_batches) {
  Actions actions;
  actions.reserve(2 * static_cast<std::size_t>(num_micro_batches));
  for (int m = 0; m < num_micro_batches; ++m) actions.push_back({ActionKind::forward, m, 0});
  for (int m = 0; m < num_micro_batches; ++m) actions.push_back({ActionKind::backward, m, 0});
  return actions;
}

/// Warm-up: enough forwards that the first backward can come back while this rank is still busy.
/// Then a backward follows each forward.
Actions one_forward_one_backward_actions(int pipeline_parallel, int pipeline_rank,
                                         int num_micro_batches) {
  Actions actions;
  actions.reserve(2 * static_cast<std::size_t>(num_micro_batches));
  int forwards = 0;
  const std::int64_t warm_up =
      warm_up_forwards(ScheduleKind::one_forward_one_backward, pipeline_parallel, 1,
                       num_micro_batches, pipeline_rank);
  while (forwards < warm_up) actions.push_back({ActionKind::forward, forwards++, 0});
  for (int backwards = 0; backwards < num_micro_batches; ++backwards) {
    if (forwards < num_micro_batches) actions.push_back({ActionKind::forward, forwards++, 0});
    actions.push_back({ActionKind::backward, backwards, 0});
  }
  return actions;
}

/// Megatron-LM's order: a rank takes a group of pipeline_parallel micro-batches through its first
/// chunk, the same group through its second, and so on; backwards visit the chunks in reverse.
class InterleavedOrder {
 public:
  InterleavedOrder(int pipeline_parallel, int chunks)
      : pipeline_parallel_(pipeline_parallel), chunks_(chunks) {}

  Action next_forward() { return next(ActionKind::forward); }
  Action next_backward() {
    Action action = next(ActionKind::backward);
    action.chunk = chunks_ - 1 - action.chunk;
    return action;
  }

 private:
  Action next(ActionKind kind) {
    const Action action{kind, group_ + member_, chunk_};
    if (++member_ == pipeline_parallel_) {
      member_ = 0;
      if (++chunk_ == chunks_) {
        chunk_ = 0;
        group_ += pipeline_parallel_;
      }
    }
    return action;
  }

  int pipeline_parallel_;
  int chunks_;
  int group_ = 0;   ///< its first micro-batch
  int member_ = 0;  ///< of the group
  int chunk_ = 0;
};

Actions interleaved_actions(int pipeline_parallel, int chunks, int pipeline_rank,
                            int num_micro_batches) {
  const int total = num_micro_batches * chunks;
  const std::int64_t warm_up = warm_up_forwards(ScheduleKind::interleaved, pipeline_parallel,
                                                chunks, num_micro_batches, pipeline_rank);
  InterleavedOrder forward(pipeline_parallel, chunks), backward(pipeline_parallel, chunks);

  Actions actions;
  actions.reserve(2 * static_cast<std::size_t>(total));
  int forwards = 0;
  for (; forwards < warm_up; ++forwards) actions.push_back(forward.next_forward());
  for (int backwards = 0; backwards < total; ++backwards) {
    if (forwards++ < total) actions.push_back(forward.next_forward());
    actions.push_back(backward.next_backward());
  }
  return actions;
}

/// 1F1B with the backward split in two. Rank r lets r weight gradients wait, so that backward
/// passes return to the first rank without queuing behind them and the waiting ones fill the
/// cool-down. Every rank then holds as many micro-batches as the first rank of 1F1B.
Actions zb_h1_actions(int pipeline_parallel, int pipeline_rank, int num_micro_batches) {
  Actions actions;
  actions.reserve(3 * static_cast<std::size_t>(num_micro_batches));
  int forwards = 0, weights = 0;
  const std::int64_t warm_up =
      warm_up_forwards(ScheduleKind::zb_h1, pipeline_parallel, 1, num_micro_batches, pipeline_rank);
  while (forwards < warm_up) actions.push_back({ActionKind::forward, forwards++, 0});
  for (int backwards = 0; backwards < num_micro_batches; ++backwards) {
    if (forwards < num_micro_batches) actions.push_back({ActionKind::forward, forwards++, 0});
    actions.push_back({ActionKind::backward_input, backwards, 0});
    if (backwards >= pipeline_rank) actions.push_back({ActionKind::backward_weight, weights++, 0});
  }
  while (weights < num_micro_batches) {
    actions.push_back({ActionKind::backward_weight, weights++, 0});
  }
  return actions;
}

Errors schedule_faults(ScheduleKind kind, int pipeline_parallel, int virtual_stages_per_rank,
                       int num_micro_batches) {
  Errors errors;
  const auto positive = [&](const char* where, int value) {
    if (value < 1) errors.push_back({where, fmt::format("is {}", value), "give at least 1"});
  };
  positive("schedule: pipeline ranks", pipeline_parallel);
  positive("schedule: virtual stages per rank", virtual_stages_per_rank);
  positive("schedule: micro-batches", num_micro_batches);
  if (!errors.empty()) return errors;

  if (kind == ScheduleKind::interleaved) {
    if (virtual_stages_per_rank < 2) {
      errors.push_back({"schedule: virtual stages per rank", "is 1 in an interleaved schedule",
                        "give at least 2, or use 1f1b"});
    }
    if (num_micro_batches % pipeline_parallel != 0) {
      errors.push_back({"schedule: micro-batches",
                        fmt::format("are {}, which {} pipeline ranks do not divide as an "
                                    "interleaved schedule needs",
                                    num_micro_batches, pipeline_parallel),
                        fmt::format("give a multiple of {}, or use 1f1b", pipeline_parallel)});
    }
  } else if (virtual_stages_per_rank > 1) {
    errors.push_back(
        {"schedule: virtual stages per rank",
         fmt::format("are {} in schedule {}", virtual_stages_per_rank, to_string(kind)),
         "use interleaved, or give 1"});
  }

  if (num_actions(kind, pipeline_parallel, virtual_stages_per_rank, num_micro_batches) >
      max_schedule_actions) {
    errors.push_back(
        {"schedule: micro-batches",
         fmt::format("{} micro-batches over {} stages are more than {} actions", num_micro_batches,
                     std::int64_t{pipeline_parallel} * virtual_stages_per_rank,
                     max_schedule_actions),
         "give fewer micro-batches or stages"});
  }
  return errors;
}

}  // namespace

std::int64_t num_micro_batches(const TrainingJob& job, const ParallelLayout& layout) {
  return job.global_batch_size / (std::int64_t{layout.data_parallel} * layout.micro_batch_size);
}

std::int64_t num_actions(ScheduleKind kind, int pipeline_parallel, int virtual_stages_per_rank,
                         std::int64_t num_micro_batches) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  const std::int64_t passes = kind == ScheduleKind::zb_h1 ? 3 : 2;
  const std::int64_t stages = std::int64_t{pipeline_parallel} * virtual_stages_per_rank;
  if (num_micro_batches > most / passes / stages) return most;
  return passes * stages * num_micro_batches;
}

std::int64_t num_actions(const TrainingJob& job, const ParallelLayout& layout) {
  return num_actions(layout.schedule, layout.pipeline_parallel, layout.virtual_stages_per_rank,
                     num_micro_batches(job, layout));
}

Expected<Schedule> make_schedule(const TrainingJob& job, const ParallelLayout& layout) {
  return make_schedule(layout.schedule, layout.pipeline_parallel, layout.virtual_stages_per_rank,
                       static_cast<int>(num_micro_batches(job, layout)));
}

Expected<Schedule> make_schedule(ScheduleKind kind, int pipeline_parallel,
                                 int virtual_stages_per_rank, int num_micro_batches) {
  Errors errors =
      schedule_faults(kind, pipeline_parallel, virtual_stages_per_rank, num_micro_batches);
  if (!errors.empty()) return errors;

  Schedule schedule{pipeline_parallel, virtual_stages_per_rank, num_micro_batches, {}};
  schedule.actions.reserve(static_cast<std::size_t>(pipeline_parallel));
  for (int pipeline_rank = 0; pipeline_rank < pipeline_parallel; ++pipeline_rank) {
    switch (kind) {
      case ScheduleKind::gpipe: schedule.actions.push_back(gpipe_actions(num_micro_batches)); break;
      case ScheduleKind::one_forward_one_backward:
        schedule.actions.push_back(
            one_forward_one_backward_actions(pipeline_parallel, pipeline_rank, num_micro_batches));
        break;
      case ScheduleKind::interleaved:
        schedule.actions.push_back(interleaved_actions(pipeline_parallel, virtual_stages_per_rank,
                                                       pipeline_rank, num_micro_batches));
        break;
      case ScheduleKind::zb_h1:
        schedule.actions.push_back(
            zb_h1_actions(pipeline_parallel, pipeline_rank, num_micro_batches));
        break;
    }
  }
  return schedule;
}

std::vector<int> peak_in_flight(const Schedule& schedule) {
  std::vector<int> peaks;
  peaks.reserve(schedule.actions.size());
  for (const Actions& actions : schedule.actions) {
    int held = 0, peak = 0;
    for (const Action& action : actions) {
      switch (action.kind) {
        case ActionKind::forward: peak = std::max(peak, ++held); break;
        case ActionKind::backward:
        case ActionKind::backward_weight: --held; break;
        case ActionKind::backward_input: break;
      }
    }
    peaks.push_back(peak);
  }
  return peaks;
}

int peak_in_flight(ScheduleKind kind, int pipeline_parallel, int virtual_stages_per_rank,
                   int num_micro_batches, int pipeline_rank) {
  if (kind == ScheduleKind::zb_h1) return std::min(num_micro_batches, pipeline_parallel);
  const std::int64_t forwards = std::int64_t{num_micro_batches} * virtual_stages_per_rank;
  const std::int64_t before_backward = warm_up_forwards(
      kind, pipeline_parallel, virtual_stages_per_rank, num_micro_batches, pipeline_rank);
  // One more forward than the warm-up's comes before the first backward, if there is one.
  return static_cast<int>(std::min(forwards, before_backward + 1));
}

double peak_held(ScheduleKind kind, int pipeline_parallel, int num_micro_batches, int pipeline_rank,
                 std::span<const double> of_chunk) {
  const int chunks = static_cast<int>(of_chunk.size());
  const std::int64_t most =
      peak_in_flight(kind, pipeline_parallel, chunks, num_micro_batches, pipeline_rank);
  if (std::equal(of_chunk.begin() + 1, of_chunk.end(), of_chunk.begin())) {
    return static_cast<double>(most) * of_chunk.front();
  }
  // The interleaved order runs as many forwards ahead of the backwards from then on. While neither
  // of the two turns to another chunk, what is held changes at an even pace: its peak is at a turn,
  // in the first round of the chunks, which all others repeat.
  const std::int64_t p = pipeline_parallel;
  const std::int64_t round = p * chunks;
  const auto passes = [&](std::int64_t done, int turn) {
    return done / round * p + std::clamp<std::int64_t>(done % round - turn * p, 0, p);
  };
  const std::int64_t last = std::min(num_micro_batches * std::int64_t{chunks} - most, round);
  double peak = 0;
  for (std::int64_t backwards = 0; backwards <= last;) {
    const std::int64_t forwards = most + backwards;
    double held = 0;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      held += of_chunk[chunk] *
              static_cast<double>(passes(forwards, chunk) - passes(backwards, chunks - 1 - chunk));
    }
    peak = std::max(peak, held);
    backwards += std::min(p - backwards % p, p - forwards % p);
  }
  return peak;
}

int peak_waiting(ScheduleKind kind, int num_micro_batches, int pipeline_rank) {
  return kind == ScheduleKind::zb_h1 ? std::min(num_micro_batches, pipeline_rank + 1) : 0;
}

}  // namespace kumihimo
