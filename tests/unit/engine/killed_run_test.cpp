#include <algorithm>
#include <chrono>
#include <csignal>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <random>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "support/in_folder.hpp"
#include "support/resumed_runs.hpp"
#include "support/small_models.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;
using testing::learnable_data;
using testing::small_options;

constexpr std::int64_t end = 400;
constexpr int kills = 25;

TrainingOptions options() {
  TransformerShape model = testing::small_llama();
  model.layers = 1;
  TrainingOptions options = small_options(model, "dp=2 zero=3", "bf16");
  options.job.seq_length = 4;
  options.job.global_batch_size = 2;
  return options;
}

/// What `kumihimo train --save DIR --save-every 1 --keep 2 --resume DIR` does: goes on from the
/// newest state, where there is one. Adds a line "STEP LOSS" to `log` for every step.
void train_on(const fs::path& folder, const fs::path& log) {
  const TrainingOptions run = options();
  std::optional<ResumableState> state;
  if (newest_state(folder)) state = *inspect_state(folder, run, learnable_data, true);
  run_threads(2, [&](World& world) {
    Trainer trainer(world, run,
                    testing::learnable_tokens(run.seed, run.job.seq_length, run.job.model.vocab));
    if (state) resume_training(trainer, *state);
    while (trainer.steps_done() < end) {
      const StepReport report = trainer.run_step();
      if (world.rank() == 0) {
        std::ofstream(log, std::ios::app) << fmt::format("{} {:a}\n", report.step, report.loss);
      }
      save_training_state(trainer, folder, 2, learnable_data);
    }
  });
}

/// Runs train_on in a process of its own and kills it after that time. Returns whether it had not
/// ended by then.
bool killed_after(std::chrono::microseconds time, const fs::path& folder, const fs::path& log) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      train_on(folder, log);
      ::_exit(0);
    } catch (const std::exception& error) {
      fmt::print(stderr, "{}\n", error.what());
      ::_exit(1);
    }
  }
  std::this_thread::sleep_for(time);
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  return WIFSIGNALED(status);
}

class KilledRun : public InFolder {};

/// Kills fall anywhere: into steps, into writing, committing and removing states, into resuming.
TEST_F(KilledRun, AlwaysResumesFromAWholeStateAndEndsWithTheSameLosses) {
  const fs::path states = folder_ / "states", log = folder_ / "log";
  std::mt19937 random(7);
  std::uniform_int_distribution<int> microseconds(1'000, 150'000);
  int killed = 0;
  std::int64_t step = 0;
  for (int i = 0; i < kills; ++i) {
    killed += killed_after(std::chrono::microseconds(microseconds(random)), states, log) ? 1 : 0;
    const std::optional<fs::path> newest = newest_state(states);
    if (!newest) {
      EXPECT_EQ(step, 0) << "states have been lost";
      continue;
    }
    const Expected<Manifest> manifest = open_state(*newest, true);
    ASSERT_TRUE(manifest) << to_string(manifest.errors());
    EXPECT_GE(manifest->step, step) << "the newest state has been lost";
    step = manifest->step;
  }
  RecordProperty("killed", killed);
  RecordProperty("step", static_cast<int>(step));
  EXPECT_GT(killed, 0);
  train_on(states, log);

  const testing::Outcome whole = testing::follow(options(), {.end = end});
  std::ifstream lines(log);
  std::vector<bool> seen(end);
  std::string number, loss;
  while (lines >> number >> loss) {
    const auto at = static_cast<std::size_t>(std::stoll(number));
    ASSERT_LT(at, seen.size());
    EXPECT_EQ(loss, fmt::format("{:a}", whole.losses[at])) << "step " << at;
    seen[at] = true;
  }
  EXPECT_EQ(std::ranges::count(seen, true), end);
  EXPECT_EQ(inspect_state(states, options(), learnable_data, true)->manifest.step, end);
}

}  // namespace
}  // namespace kumihimo
