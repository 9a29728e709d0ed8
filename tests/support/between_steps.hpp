#pragma once

#include <algorithm>
#include <vector>

#include "support/training_runs.hpp"

namespace kumihimo::testing {

/// What each rank reads of its states after some steps of a training. After others, of which
/// nothing has been read, it sets them anew.
inline std::vector<std::vector<float>> read_and_set_between_steps(
    const TrainingOptions& options, const OpenGpu& open_gpu = nullptr) {
  std::vector<std::vector<float>> of_ranks(static_cast<std::size_t>(options.layout.devices()));
  with_trainers(options, open_gpu, [&](Trainer& trainer, const World& world) {
    ModelStates& states = trainer.states();
    std::vector<float>& seen = of_ranks[static_cast<std::size_t>(world.rank())];
    std::vector<float> values;
    const auto for_each_piece = [&](const auto& visit) {
      for (int unit = 0; unit < std::ssize(states.units()); ++unit) {
        for (const OwnedPiece& piece : states.owned_pieces(unit)) {
          values.resize(static_cast<std::size_t>(piece.count));
          visit(unit, piece);
        }
      }
    };
    for (std::int64_t step = 0; step < 4; ++step) {
      trainer.run_step();
      for_each_piece([&](int unit, const OwnedPiece& piece) {
        for (const StateKind kind :
             {StateKind::weight, StateKind::master, StateKind::m, StateKind::v}) {
          if (!states.has(kind)) continue;
          states.read_state(unit, piece, kind, values.data());
          seen.insert(seen.end(), values.begin(), values.end());
        }
        states.read_gradient(unit, piece, values.data());  // still those of the step
        seen.insert(seen.end(), values.begin(), values.end());
      });
      if (step % 2 == 0) continue;
      trainer.run_step();
      for_each_piece([&](int unit, const OwnedPiece& piece) {
        std::fill(values.begin(), values.end(), 0.0f);
        states.write_state(unit, piece, StateKind::m, values.data());
        values.resize(static_cast<std::size_t>(piece.parameter->elements()));
        initial_values(*piece.parameter, 2, values.data());
        states.write_state(unit, piece, StateKind::weight, values.data() + piece.first);
      });
      states.spread_weights();
    }
  });
  return of_ranks;
}

}  // namespace kumihimo::testing
