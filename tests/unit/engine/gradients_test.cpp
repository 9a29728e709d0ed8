#include <cmath>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <limits>

#include "support/small_models.hpp"
#include "support/training_runs.hpp"

namespace kumihimo {
namespace {

constexpr double weight_scale = 12;  // initial values have deviation 0.02
constexpr double difference = 1.0 / 32;

TransformerShape one_layer(TransformerShape model) {
  model.layers = 1;
  model.hidden = 16;
  model.head_dim = 4;
  model.ffn_hidden = 12;
  model.vocab = 10;
  model.max_positions = 8;
  return model;
}

/// An element of a whole parameter.
struct Element {
  std::string parameter;
  std::int64_t row = 0;
  std::int64_t col = 0;
};

/// Around seven elements of every parameter, spread over its rows and columns.
std::vector<Element> sampled_elements(const TrainingOptions& options) {
  TrainingOptions whole = options;
  whole.layout = {};
  std::vector<Element> elements;
  for (const ParameterUnit& unit : parameter_units(whole, {})) {
    for (const Parameter& p : unit.parameters) {
      const std::int64_t valid = p.valid_rows * p.cols;
      const std::int64_t stride = std::max<std::int64_t>(1, valid / 7) | 1;
      for (std::int64_t i = 0; i < valid; i += stride) {
        elements.push_back({p.name, i / p.cols, i % p.cols});
      }
    }
  }
  return elements;
}

/// Calls `visit(unit, piece)` for this rank's own copy of the element, if it has one.
void at_element(Trainer& trainer, const Element& element, bool counted_only,
                const std::function<void(int unit, const OwnedPiece& piece)>& visit) {
  ModelStates& states = trainer.states();
  for (int unit = 0; unit < std::ssize(states.units()); ++unit) {
    for (const OwnedPiece& piece :
         counted_only ? states.pieces_to_save(unit) : states.owned_pieces(unit)) {
      const Parameter& p = *piece.parameter;
      const std::int64_t row = element.row - p.first_row, col = element.col - p.first_col;
      if (p.name != element.parameter || row < 0 || row >= p.rows || col < 0 || col >= p.cols) {
        continue;
      }
      const std::int64_t at = row * p.cols + col - piece.first;
      if (at < 0 || at >= piece.count) continue;
      visit(unit, {piece.parameter, piece.first + at, 1, piece.offset + at});
    }
  }
}

/// Larger weights than at the start of training, so that every gradient is well above rounding.
void enlarge_weights(Trainer& trainer, std::uint64_t seed) {
  ModelStates& states = trainer.states();
  for (int unit = 0; unit < std::ssize(states.units()); ++unit) {
    for (const OwnedPiece& piece : states.owned_pieces(unit)) {
      Parameter p = *piece.parameter;
      const bool around_one = std::exchange(p.is_norm_weight, false);
      p.is_bias = false;
      std::vector<float> values(static_cast<std::size_t>(p.elements()));
      initial_values(p, seed, values.data());
      for (float& value : values) {
        value = static_cast<float>(weight_scale) * value + (around_one ? 1.0f : 0.0f);
      }
      states.write_state(unit, piece, StateKind::weight, values.data() + piece.first);
    }
  }
  states.spread_weights();
}

/// Of the loss of the first step, by fourth-order central differences, with a learning rate of 0;
/// against what the backward pass gives.
void check_gradients(const TrainingOptions& options) {
  const std::vector<Element> elements = sampled_elements(options);
  std::vector<double> analytic(elements.size()), numerical(elements.size());
  std::vector<int> holders(elements.size());
  std::mutex mutex;
  run_threads(static_cast<int>(options.layout.devices()), [&](World& world) {
    Trainer trainer(
        world, options,
        testing::learnable_tokens(options.seed, options.job.seq_length, options.job.model.vocab));
    enlarge_weights(trainer, options.seed);
    const auto loss = [&] {
      trainer.resume_at(0, 0);  // the same samples each time
      return trainer.run_step().loss;
    };
    loss();
    for (std::size_t i = 0; i < elements.size(); ++i) {
      at_element(trainer, elements[i], true, [&](int unit, const OwnedPiece& piece) {
        float gradient = 0;
        trainer.states().read_gradient(unit, piece, &gradient);
        const std::lock_guard lock(mutex);
        analytic[i] = gradient;
        ++holders[i];
      });
    }
    for (std::size_t i = 0; i < elements.size(); ++i) {
      const auto shift = [&](double by) {
        at_element(trainer, elements[i], false, [&](int unit, const OwnedPiece& piece) {
          float value = 0;
          trainer.states().read_state(unit, piece, StateKind::weight, &value);
          value += static_cast<float>(by);
          trainer.states().write_state(unit, piece, StateKind::weight, &value);
        });
        trainer.states().spread_weights();
      };
      const auto loss_at = [&](double shift_in_steps) {
        shift(shift_in_steps * difference);
        const double result = loss();
        shift(-shift_in_steps * difference);
        return result;
      };
      const double near = loss_at(1) - loss_at(-1);
      const double far = loss_at(2) - loss_at(-2);
      if (world.rank() == 0) numerical[i] = (8 * near - far) / (12 * difference);
    }
  });
  double largest = 0;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const Element& e = elements[i];
    const std::string where = fmt::format("{} [{}, {}]", e.parameter, e.row, e.col);
    EXPECT_EQ(holders[i], 1) << where;
    // The loss is good to 1e-7: over 1/16, 2e-6.
    EXPECT_NEAR(analytic[i], numerical[i], 1e-5 + 1e-3 * std::abs(numerical[i])) << where;
    largest = std::max(largest, std::abs(numerical[i]));
  }
  EXPECT_GT(largest, 0.02) << "gradients must be well above the bound";
}

/// Llama: RMSNorm, rotary positions, grouped queries, SwiGLU. Gpt: LayerNorm, biases, GELU, learned
/// positions, one table for both ends.
class GradientsByDifferences : public ::testing::TestWithParam<const char*> {};

TrainingOptions options_for(const TransformerShape& model, const char* layout) {
  TrainingOptions options = testing::small_options(one_layer(model), "");
  options.layout = *parse_layout(fmt::format("precision=fp32 {}", layout));
  options.job.seq_length = 8;
  options.job.global_batch_size = 1;
  options.learning_rate.peak = 0;
  return options;
}

TEST_P(GradientsByDifferences, Llama) {
  check_gradients(options_for(testing::small_llama(), GetParam()));
}

TEST_P(GradientsByDifferences, Gpt) {
  check_gradients(options_for(testing::small_gpt(), GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Layouts, GradientsByDifferences,
                         ::testing::Values("attention=unfused norm=unfused", "tp=2", "tp=2 sp=true",
                                           "tp=4 sp=true attention=fused-softmax"),
                         [](const auto& test) { return fmt::format("Layout{}", test.index); });

/// Gradient norms of three steps, between which `spoil` makes what the last one summed useless.
std::vector<double> gradient_norms(const TrainingOptions& options, bool spoil) {
  std::vector<double> norms;
  testing::with_trainers(options, {}, [&](Trainer& trainer, const World& world) {
    ModelStates& states = trainer.states();
    for (int step = 0; step < 3; ++step) {
      const double norm = trainer.run_step().gradient_norm;
      if (world.rank() == 0) norms.push_back(norm);
      if (!spoil) continue;
      states.complete_update();
      for (int unit = 0; unit < std::ssize(states.units()); ++unit) {
        const Matrix sums = states.gradients(unit).flat;
        std::fill_n(static_cast<float*>(sums.data), sums.cols,
                    std::numeric_limits<float>::quiet_NaN());
      }
    }
  });
  return norms;
}

/// The first products of a step overwrite what the last one left; all else starts at zero.
class StaleGradients : public ::testing::TestWithParam<const char*> {};

TEST_P(StaleGradients, ReachNoSum) {
  for (const TransformerShape& model : {testing::small_llama(), testing::small_gpt()}) {
    SCOPED_TRACE(model.name);
    const TrainingOptions options = testing::small_options(model, GetParam());
    EXPECT_EQ(gradient_norms(options, true), gradient_norms(options, false));
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, StaleGradients,
                         ::testing::Values("", "pp=2 schedule=zb-h1", "tp=2 sp=true pp=2",
                                           "dp=2 zero=1", "dp=2 zero=1 offload=optimizer"),
                         [](const auto& test) { return fmt::format("Layout{}", test.index); });

}  // namespace
}  // namespace kumihimo
