// What holds for every schedule, on random shapes of up to 12 ranks, 4 chunks, 64 micro-batches.

#include <gtest/gtest.h>
#include <random>

#include "layout/names.hpp"
#include "play.hpp"
#include "schedule/schedule.hpp"

namespace kumihimo {
namespace {

using testing::makespan;
using testing::PassTimes;

class EverySchedule : public ::testing::TestWithParam<ScheduleKind> {
 protected:
  static constexpr int cases = 150;

  Schedule random_schedule() {
    const int pipeline_parallel = pick(1, 12);
    if (GetParam() == ScheduleKind::interleaved) {
      const int groups = pick(1, 64 / pipeline_parallel);
      return *make_schedule(GetParam(), pipeline_parallel, pick(2, 4), groups * pipeline_parallel);
    }
    return *make_schedule(GetParam(), pipeline_parallel, 1, pick(1, 64));
  }

  int pick(int smallest, int largest) {
    return std::uniform_int_distribution<int>(smallest, largest)(random_);
  }

  static std::string shape(const Schedule& schedule) {
    return "p " + std::to_string(schedule.pipeline_parallel) + " v " +
           std::to_string(schedule.virtual_stages_per_rank) + " m " +
           std::to_string(schedule.num_micro_batches);
  }

 private:
  std::mt19937 random_{20231109};
};

TEST_P(EverySchedule, RunsEveryPassOnceInOrder) {
  for (int repeat = 0; repeat < cases; ++repeat) {
    const Schedule schedule = random_schedule();
    SCOPED_TRACE(shape(schedule));
    ASSERT_EQ(std::ssize(schedule.actions), schedule.pipeline_parallel);
    for (const auto& actions : schedule.actions) {
      const auto passes = static_cast<std::size_t>(schedule.num_micro_batches) *
                          static_cast<std::size_t>(schedule.virtual_stages_per_rank);
      std::vector<int> forwards(passes), inputs(passes), weights(passes);
      std::vector<int> last_backward(schedule.virtual_stages_per_rank, -1);
      for (const Action& action : actions) {
        ASSERT_GE(action.micro_batch, 0);
        ASSERT_LT(action.micro_batch, schedule.num_micro_batches);
        ASSERT_GE(action.chunk, 0);
        ASSERT_LT(action.chunk, schedule.virtual_stages_per_rank);
        const auto pass = static_cast<std::size_t>(action.micro_batch) *
                              static_cast<std::size_t>(schedule.virtual_stages_per_rank) +
                          static_cast<std::size_t>(action.chunk);
        if (action.kind == ActionKind::forward) ++forwards[pass];
        if (action.kind == ActionKind::backward || action.kind == ActionKind::backward_input) {
          ASSERT_EQ(forwards[pass], 1) << "backward before forward";
          ++inputs[pass];
          // The order in which gradients are summed is the same under every schedule.
          ASSERT_EQ(action.micro_batch, last_backward[action.chunk] + 1);
          last_backward[action.chunk] = action.micro_batch;
        }
        if (action.kind == ActionKind::backward || action.kind == ActionKind::backward_weight) {
          ASSERT_EQ(inputs[pass], 1) << "weight gradient before input gradient";
          ++weights[pass];
        }
      }
      const std::vector<int> once(passes, 1);
      ASSERT_EQ(forwards, once);
      ASSERT_EQ(inputs, once);
      ASSERT_EQ(weights, once);
    }
  }
}

TEST_P(EverySchedule, NeverDeadlocksAndIsNeverFasterThanItsWork) {
  for (int repeat = 0; repeat < cases; ++repeat) {
    const Schedule schedule = random_schedule();
    SCOPED_TRACE(shape(schedule));
    const PassTimes times{pick(1, 20), pick(1, 20), pick(1, 20)};
    const auto end = makespan(schedule, times);
    ASSERT_TRUE(end) << "deadlock";
    ASSERT_GE(*end, schedule.num_micro_batches * schedule.virtual_stages_per_rank *
                        (times.forward + times.backward_input + times.backward_weight));
  }
}

TEST_P(EverySchedule, HoldsAsManyActivationsAsTheory) {
  for (int repeat = 0; repeat < cases; ++repeat) {
    const Schedule schedule = random_schedule();
    SCOPED_TRACE(shape(schedule));
    const int p = schedule.pipeline_parallel, v = schedule.virtual_stages_per_rank;
    const int m = schedule.num_micro_batches;
    const std::vector<int> peaks = peak_in_flight(schedule);
    ASSERT_EQ(std::ssize(peaks), p);
    for (int r = 0; r < p; ++r) {
      int theory = 0;
      switch (GetParam()) {
        case ScheduleKind::gpipe: theory = m; break;
        case ScheduleKind::one_forward_one_backward: theory = std::min(m, p - r); break;
        case ScheduleKind::interleaved:
          theory = std::min(m * v, (p - r - 1) * 2 + (v - 1) * p + 1);
          break;
        // p - r forwards as in 1F1B, and r micro-batches whose weight gradients wait: on every rank
        // what the first rank of 1F1B holds.
        case ScheduleKind::zb_h1: theory = std::min(m, p); break;
      }
      ASSERT_EQ(peaks[static_cast<std::size_t>(r)], theory) << "rank " << r;
    }
  }
}

TEST_P(EverySchedule, EndsWhenTheorySays) {
  for (int repeat = 0; repeat < cases; ++repeat) {
    const Schedule schedule = random_schedule();
    SCOPED_TRACE(shape(schedule));
    const int p = schedule.pipeline_parallel, v = schedule.virtual_stages_per_rank;
    const int m = schedule.num_micro_batches;
    const PassTimes times{pick(1, 20), pick(1, 20), pick(0, 20)};
    const int pass = times.forward + times.backward_input + times.backward_weight;
    const int work = m * v * pass;
    int bubble = (p - 1) * pass;  // in time units of one chunk, so 1/v of a rank's own work
    if (GetParam() == ScheduleKind::zb_h1) {
      if (m < p) continue;  // the pipeline never fills
      // The paper states the last of these three, for a weight gradient no longer than either other
      // pass; filling and draining the pipeline take at least the first two.
      bubble = (p - 1) * std::max({times.forward, times.backward_input,
                                   times.forward + times.backward_input - times.backward_weight});
    }
    ASSERT_EQ(makespan(schedule, times), work + bubble);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, EverySchedule,
                         ::testing::Values(ScheduleKind::gpipe,
                                           ScheduleKind::one_forward_one_backward,
                                           ScheduleKind::interleaved, ScheduleKind::zb_h1),
                         [](const auto& kind) {
                           std::string name(to_string(kind.param));
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace kumihimo
