#include <algorithm>
#include <atomic>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

using testing::small_llama;
using testing::small_options;

/// Called by every rank before each step: what goes wrong there.
using Sabotage = std::function<void(World& world, Trainer& trainer, int step)>;

void train_with(const TrainingOptions& options, const Sabotage& sabotage, int steps = 4) {
  run_threads(static_cast<int>(options.layout.devices()), [&](World& world) {
    Trainer trainer(
        world, options,
        testing::learnable_tokens(options.seed, options.job.seq_length, options.job.model.vocab));
    for (int step = 0; step < steps; ++step) {
      sabotage(world, trainer, step);
      trainer.run_step();
    }
  });
}

const std::vector<std::string>& layouts() {
  static const std::vector<std::string> all{"tp=2 pp=2 dp=2 zero=3", "pp=4 schedule=zb-h1",
                                            "tp=2 dp=2 zero=1 sp=true",
                                            "pp=2 dp=2 schedule=interleaved vpp=2 zero=2"};
  return all;
}

/// What a data file that ends too early does.
TEST(Failures, AReaderThatThrowsOnOneRankEndsAll) {
  for (const std::string& layout : layouts()) {
    SCOPED_TRACE(layout);
    const TrainingOptions options = small_options(small_llama(), layout);
    try {
      run_threads(static_cast<int>(options.layout.devices()), [&](World& world) {
        const auto tokens = testing::learnable_tokens(options.seed, 16, 50);
        Trainer trainer(world, options,
                        [&](std::int64_t first_sample, std::span<std::int32_t> inputs,
                            std::span<std::int32_t> targets) {
                          if (world.rank() == 0 && first_sample >= 16) {
                            throw std::runtime_error("corpus.bin: ends early");
                          }
                          tokens(first_sample, inputs, targets);
                        });
        for (int step = 0; step < 4; ++step) trainer.run_step();
      });
      ADD_FAILURE() << "nothing thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "rank 0: corpus.bin: ends early");
    }
  }
}

TEST(Failures, ANaNInTheWeightsOfOneRankEndsAllWithATrainingFailure) {
  for (const std::string& layout : layouts()) {
    SCOPED_TRACE(layout);
    std::atomic<int> failed = 0;
    const TrainingOptions options = small_options(small_llama(), layout);
    run_threads(static_cast<int>(options.layout.devices()), [&](World& world) {
      Trainer trainer(world, options, testing::learnable_tokens(options.seed, 16, 50));
      trainer.run_step();
      if (world.rank() == world.size() - 1) {
        ModelStates& states = trainer.states();
        const int last_unit = static_cast<int>(std::ssize(states.units())) - 1;
        OwnedPiece piece = states.owned_pieces(last_unit).front();
        piece.count = 1;
        const float nan = std::numeric_limits<float>::quiet_NaN();
        states.write_state(last_unit, piece, StateKind::weight, &nan);
      }
      trainer.states().spread_weights();
      try {
        trainer.run_step();
      } catch (const TrainingFailure&) {
        ++failed;
      }
    });
    EXPECT_EQ(failed, options.layout.devices());
  }
}

/// The loss of a step says nothing of its gradients, which the update would carry into the weights,
/// and a save into the state to resume from.
TEST(Failures, AGradientThatIsNoNumberEndsAllBeforeItReachesTheWeights) {
  for (const char* layout : {"dp=1", "tp=2 dp=2 zero=1"}) {
    SCOPED_TRACE(layout);
    std::atomic<int> failed = 0;
    const TrainingOptions options = small_options(small_llama(), layout);
    run_threads(static_cast<int>(options.layout.devices()), [&](World& world) {
      const auto tokens = testing::learnable_tokens(options.seed, 16, 50);
      Trainer* trained = nullptr;  // once gradients shall be spoilt
      Trainer trainer(world, options,
                      [&](std::int64_t first_sample, std::span<std::int32_t> inputs,
                          std::span<std::int32_t> targets) {
                        tokens(first_sample, inputs, targets);
                        if (trained == nullptr || world.rank() > 0) return;
                        const Matrix gradients = trained->states().gradients(1).flat;
                        *static_cast<float*>(gradients.data) =
                            std::numeric_limits<float>::quiet_NaN();
                      });
      trainer.run_step();
      trained = &trainer;
      try {
        trainer.run_step();
      } catch (const TrainingFailure& failure) {
        EXPECT_STREQ(failure.what(),
                     "the gradient norm of step 2 is not a number: lower --learning-rate or raise "
                     "--warmup, and resume from the last saved state");
        ++failed;
      }
      ModelStates& states = trainer.states();
      for (const OwnedPiece& piece : states.owned_pieces(1)) {
        std::vector<float> values(static_cast<std::size_t>(piece.count));
        states.read_state(1, piece, StateKind::weight, values.data());
        EXPECT_TRUE(std::ranges::all_of(values, [](float x) { return std::isfinite(x); }));
      }
    });
    EXPECT_EQ(failed, options.layout.devices());
  }
}

/// The budget is found by trying: what the first rank's constructor, and its first step, ask for.
struct Needs {
  Bytes constructed = 0;
  Bytes first_step = 0;
};

Needs needs(const TrainingOptions& options) {
  Needs result;
  train_with(
      options,
      [&](World& world, Trainer& trainer, int step) {
        if (world.rank() > 0) return;
        (step == 0 ? result.constructed : result.first_step) = trainer.memory().peak_total();
      },
      2);
  return result;
}

void expect_out_of_memory(TrainingOptions options, Bytes budget, bool on_one_rank) {
  EXPECT_THROW(run_threads(static_cast<int>(options.layout.devices()),
                           [&](World& world) {
                             TrainingOptions own = options;
                             if (!on_one_rank || world.rank() == 0) own.device_memory = budget;
                             Trainer trainer(world, own,
                                             testing::learnable_tokens(own.seed, 16, 50));
                             for (int step = 0; step < 2; ++step) trainer.run_step();
                           }),
               OutOfMemory);
}

TEST(Failures, TooSmallABudgetEndsAllRanksWithItsReport) {
  for (const std::string& layout : layouts()) {
    SCOPED_TRACE(layout);
    const TrainingOptions options = small_options(small_llama(), layout);
    const Needs needed = needs(options);
    ASSERT_GE(needed.first_step, needed.constructed);  // the same where making it took more
    for (const bool on_one_rank : {false, true}) {
      expect_out_of_memory(options, needed.constructed / 2, on_one_rank);
      expect_out_of_memory(options, needed.first_step - 1, on_one_rank);
    }
  }
}

/// Once temporaries have settled, after the second step.
TEST(Failures, NothingIsAllocatedInLaterSteps) {
  for (const std::string& layout : layouts()) {
    for (const char* precision : {"fp32", "fp8"}) {
      SCOPED_TRACE(layout + " " + precision);
      std::mutex mutex;
      std::map<int, std::int64_t> settled;
      train_with(small_options(small_llama(), layout, precision),
                 [&](World& world, Trainer& trainer, int step) {
                   const std::lock_guard lock(mutex);
                   if (step == 2) settled[world.rank()] = trainer.memory().allocations();
                   if (step == 3) {
                     EXPECT_EQ(trainer.memory().allocations(), settled.at(world.rank()));
                   }
                 });
    }
  }
}

}  // namespace
}  // namespace kumihimo
