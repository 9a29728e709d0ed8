#include "engine/training_state.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <optional>

#include "support/in_folder.hpp"
#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::RunResult;
using testing::small_gpt;
using testing::small_llama;
using testing::small_options;

constexpr const char* data = "tokens that a model can learn";

/// Every state that the ranks hold, of the whole model: "NAME.m" and so on.
using States = std::map<std::string, std::vector<float>>;

void collect_states(Trainer& trainer, States& all) {
  ModelStates& states = trainer.states();
  for (const StateKind kind : {StateKind::weight, StateKind::master, StateKind::m, StateKind::v}) {
    if (!states.has(kind)) continue;
    for (int unit = 0; unit < std::ssize(states.units()); ++unit) {
      for (const OwnedPiece& piece : states.pieces_to_save(unit)) {
        const Parameter& p = *piece.parameter;
        std::vector<float> values(static_cast<std::size_t>(piece.count));
        states.read_state(unit, piece, kind, values.data());
        std::vector<float>& whole = all[p.name + "." + std::to_string(static_cast<int>(kind))];
        for (std::int64_t i = 0; i < piece.count; ++i) {
          const std::int64_t row = p.first_row + (piece.first + i) / p.cols;
          const auto at = static_cast<std::size_t>(row * p.whole_cols + p.first_col +
                                                   (piece.first + i) % p.cols);
          if (whole.size() <= at) whole.resize(at + 1);
          whole[at] = values[static_cast<std::size_t>(i)];
        }
      }
    }
  }
}

struct Outcome {
  std::vector<double> losses;
  States states;
};

/// Trains to step `end`: from the beginning, or from the newest state of `from`. Saves at the end
/// where `to` is given.
Outcome train(const TrainingOptions& options, std::int64_t end, const fs::path& from = {},
              const fs::path& to = {}) {
  std::optional<ResumableState> state;
  if (!from.empty()) {
    Expected<ResumableState> found = inspect_state(from, options, data, true);
    EXPECT_TRUE(found) << (found ? "" : to_string(found.errors()));
    if (!found) return {};
    state = *std::move(found);
  }
  Outcome run;
  std::mutex mutex;
  run_threads(static_cast<int>(options.layout.devices()), [&](World& world) {
    Trainer trainer(
        world, options,
        testing::learnable_tokens(options.seed, options.job.seq_length, options.job.model.vocab));
    if (state) resume_training(trainer, *state);
    while (trainer.steps_done() < end) {
      const double loss = trainer.run_step().loss;
      if (world.rank() == 0) run.losses.push_back(loss);
    }
    if (!to.empty()) save_training_state(trainer, to, 0, data);
    const std::lock_guard lock(mutex);
    collect_states(trainer, run.states);
  });
  return run;
}

std::vector<double> tail(const std::vector<double>& losses, std::size_t count) {
  return {losses.end() - static_cast<std::ptrdiff_t>(count), losses.end()};
}

class TrainingState : public InFolder {
 protected:
  /// Six steps are three steps, a saved state, and three steps: to the last bit.
  void expect_exact(const TransformerShape& model, const std::string& layout,
                    const std::string& precision) {
    SCOPED_TRACE(layout + " " + precision);
    const TrainingOptions options = small_options(model, layout, precision);
    const fs::path states = folder_ / std::to_string(++folders_);
    const Outcome whole = train(options, 6);
    train(options, 3, {}, states);
    const Outcome resumed = train(options, 6, states);
    EXPECT_EQ(resumed.losses, tail(whole.losses, 3));
    EXPECT_EQ(resumed.states, whole.states);
  }

  /// A state of one layout, resumed in another, continues the losses of the first.
  void expect_same_curve(const TransformerShape& model, const std::string& before,
                         const std::string& after) {
    SCOPED_TRACE(before + " then " + after);
    const TrainingOptions saving = small_options(model, before);
    const fs::path states = folder_ / std::to_string(++folders_);
    const Outcome whole = train(saving, 4);
    train(saving, 2, {}, states);
    const Outcome resumed = train(small_options(model, after), 4, states);
    ASSERT_EQ(resumed.losses.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_NEAR(resumed.losses[i], whole.losses[2 + i], 1e-5 * whole.losses[2 + i]);
    }
  }

 private:
  int folders_ = 0;
};

TEST_F(TrainingState, SameLayoutContinuesBitForBit) {
  for (const char* precision : {"fp32", "bf16", "fp8"}) {
    expect_exact(small_llama(), "tp=2 pp=2", precision);
    expect_exact(small_gpt(), "tp=2 dp=2", precision);
    for (const int zero : {0, 1, 2, 3}) {
      expect_exact(small_llama(), fmt::format("dp=2 zero={}", zero), precision);
    }
  }
  expect_exact(small_gpt(), "pp=2 dp=2 zero=3", "fp32");
  expect_exact(small_llama(), "tp=4 pp=2 dp=2 zero=1 sp=true", "bf16");
}

TEST_F(TrainingState, AnotherLayoutContinuesTheSameLosses) {
  for (const TransformerShape& model : {small_llama(), small_gpt()}) {
    expect_same_curve(model, "tp=2 pp=2 dp=1", "tp=1 pp=1 dp=4 zero=3");
    expect_same_curve(model, "dp=4 zero=3", "tp=4 sp=true");
    expect_same_curve(model, "tp=4 pp=2", "pp=4 schedule=1f1b");
    expect_same_curve(model, "pp=2 schedule=interleaved vpp=2 dp=2 zero=1", "tp=2 dp=2 zero=2");
    expect_same_curve(model, "", "tp=4 pp=2 dp=2 zero=1 schedule=zb-h1");
  }
}

}  // namespace
}  // namespace kumihimo
