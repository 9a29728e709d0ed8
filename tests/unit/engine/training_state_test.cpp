#include "engine/training_state.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/in_folder.hpp"
#include "support/resumed_runs.hpp"
#include "support/small_models.hpp"

namespace kumihimo {
namespace {

namespace fs = std::filesystem;
using testing::follow;
using testing::Outcome;
using testing::small_gpt;
using testing::small_llama;
using testing::small_options;

class TrainingState : public InFolder {
 protected:
  fs::path new_folder() { return folder_ / std::to_string(++folders_); }

  /// Four steps are two steps, a saved state, and two steps: to the last bit.
  void expect_exact(const TransformerShape& model, const std::string& layout,
                    const std::string& precision) {
    SCOPED_TRACE(layout + " " + precision);
    const TrainingOptions options = small_options(model, layout, precision);
    const fs::path states = new_folder();
    const Outcome whole = follow(options, {.end = 4});
    const Outcome first = follow(options, {.end = 2, .save = states});
    const Outcome second = follow(options, {.resume = states, .end = 4});
    EXPECT_EQ(second.losses, std::vector(whole.losses.begin() + 2, whole.losses.end()));
    EXPECT_EQ(second.states, whole.states);
    EXPECT_NE(first.states, whole.states);
  }

  /// A state of one layout, resumed in another, continues the losses of the first.
  void expect_same_curve(const TransformerShape& model, const std::string& before,
                         const std::string& after) {
    SCOPED_TRACE(before + " then " + after);
    const TrainingOptions saving = small_options(model, before);
    const fs::path states = new_folder();
    const Outcome whole = follow(saving, {.end = 4});
    follow(saving, {.end = 2, .save = states});
    const Outcome resumed = follow(small_options(model, after), {.resume = states, .end = 4});
    ASSERT_EQ(resumed.losses.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_NEAR(resumed.losses[i], whole.losses[2 + i], 1e-5 * whole.losses[2 + i]);
    }
  }

  /// The bytes of model.safetensors of a state saved before the first step.
  std::string first_weights(const TrainingOptions& options) {
    const fs::path states = new_folder();
    follow(options, {.save = states});
    return contents(state_path(states, 0) / "model.safetensors");
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
  expect_exact(small_llama(), "pp=2 schedule=interleaved vpp=2", "fp8");
}

/// A change of dp also changes which rank reads which samples.
TEST_F(TrainingState, AnotherLayoutContinuesTheSameLosses) {
  for (const TransformerShape& model : {small_llama(), small_gpt()}) {
    expect_same_curve(model, "tp=2 pp=2 dp=1", "tp=1 pp=1 dp=4 zero=3");
    expect_same_curve(model, "dp=4 zero=3", "tp=4 sp=true");
    expect_same_curve(model, "tp=4 pp=2", "pp=4 schedule=1f1b");
    expect_same_curve(model, "pp=2 schedule=interleaved vpp=2 dp=2 zero=1", "tp=2 dp=2 zero=2");
    expect_same_curve(model, "", "tp=4 pp=2 dp=2 zero=1 schedule=zb-h1");
  }
}

TEST_F(TrainingState, SgdHasOneMoment) {
  TrainingOptions options = small_options(small_gpt(), "tp=2 dp=2 zero=1", "bf16");
  options.optimizer.kind = OptimizerKind::sgd;
  const fs::path states = new_folder();
  const Outcome whole = follow(options, {.end = 4});
  follow(options, {.end = 2, .save = states});
  const Outcome resumed = follow(options, {.resume = states, .end = 4});
  EXPECT_EQ(resumed.losses, std::vector(whole.losses.begin() + 2, whole.losses.end()));
  EXPECT_EQ(resumed.states, whole.states);
}

/// The vocabulary of 50 is padded to 52 by tp 4, and files hold 50.
TEST_F(TrainingState, FilesDoNotShowTheLayoutThatWroteThem) {
  for (const TransformerShape& model : {small_llama(), small_gpt()}) {
    const std::string one = first_weights(small_options(model, ""));
    for (const char* layout : {"tp=2 pp=2", "tp=4", "dp=4 zero=3", "tp=2 dp=2 zero=1"}) {
      EXPECT_TRUE(first_weights(small_options(model, layout)) == one) << model.name << layout;
    }
  }
}

/// fp32 sees all bits of what a run in bf16 has kept beside its weights, and the other way round.
TEST_F(TrainingState, PrecisionMayChange) {
  const TransformerShape model = small_llama();
  for (const auto& [before, after] : {std::pair("bf16", "fp32"), std::pair("fp32", "bf16"),
                                      std::pair("bf16", "fp8"), std::pair("fp8", "bf16")}) {
    SCOPED_TRACE(fmt::format("{} then {}", before, after));
    const fs::path states = new_folder();
    const Outcome saved =
        follow(small_options(model, "dp=2 zero=1", before), {.end = 2, .save = states});
    const Outcome resumed =
        follow(small_options(model, "dp=2 zero=1", after), {.resume = states, .end = 2});
    const auto exact = [](const Outcome& outcome, const std::string& name) {
      const auto master = outcome.states.find(name + ".1");
      return master == outcome.states.end() ? outcome.states.at(name + ".0") : master->second;
    };
    const std::string name = "model.layers.1.mlp.down_proj.weight";
    EXPECT_EQ(exact(resumed, name), exact(saved, name));
    EXPECT_EQ(resumed.states.at(name + ".2"), saved.states.at(name + ".2"));
  }
}

/// Scales of the first step after a resume follow from the newest amax values that both lengths
/// have.
TEST_F(TrainingState, AmaxHistoriesOfAnotherLengthAreCut) {
  TrainingOptions options = small_options(small_llama(), "pp=2", "fp8");
  const fs::path states = new_folder();
  follow(options, {.end = 3, .save = states});
  options.fp8.amax_history = 2;
  options.layout.pipeline_parallel = 1;
  const ResumableState state = *inspect_state(states, options, testing::learnable_data, true);
  run_threads(1, [&](World& world) {
    Trainer trainer(world, options, {});
    resume_training(trainer, state);
    for (int layer = 0; layer < 4; ++layer) {
      const Fp8Tensor& tensor =
          trainer.products().tensor({layer, LinearRole::up}, Fp8Operand::weight);
      ASSERT_EQ(tensor.history.size(), 2u);
      EXPECT_TRUE(tensor.has_scale);
      // What training at a rate of 0.01 makes of weights within 0.0347.
      EXPECT_GT(tensor.history[0], tensor.history[1]);
      EXPECT_NEAR(tensor.history[1], 0.0347f + 0.01f, 0.002f);
    }
  });
}

}  // namespace
}  // namespace kumihimo
