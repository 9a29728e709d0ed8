#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/training_state.hpp"
#include "engine/weight_files.hpp"
#include "support/training_runs.hpp"

namespace kumihimo::testing {

/// What the runs of these tests are trained on, as a saved state has it.
inline constexpr const char* learnable_data = "tokens that a model can learn";

/// By "NAME.KIND": every state of the whole model, row by row.
using WholeStates = std::map<std::string, std::vector<float>>;

/// Adds what this rank saves of every parameter.
inline void collect_states(Trainer& trainer, WholeStates& all) {
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
          if (row >= p.first_row + p.valid_rows) break;
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
  WholeStates states;
};

/// Where a run begins and what it leaves behind; paths may be empty.
struct Course {
  std::filesystem::path resume;     ///< a state, or a folder of states
  std::filesystem::path init_from;  ///< a folder of weights
  std::int64_t end = 0;             ///< step to train to
  std::filesystem::path save;       ///< folder for the state at the end
};

/// Trains on threads. Throws std::runtime_error with the reason where a state is refused.
inline Outcome follow(const TrainingOptions& options, const Course& course) {
  const auto good = [](auto inspected) {
    if (!inspected) throw std::runtime_error(to_string(inspected.errors()));
    return *std::move(inspected);
  };
  std::optional<ResumableState> state;
  std::optional<TensorFiles> weights;
  if (!course.resume.empty()) {
    state = good(inspect_state(course.resume, options, learnable_data, true));
  }
  if (!course.init_from.empty()) weights = good(inspect_weights(course.init_from, options));
  Outcome outcome;
  std::mutex mutex;
  run_threads(static_cast<int>(options.layout.devices()), [&](World& world) {
    Trainer trainer(
        world, options,
        learnable_tokens(options.seed, options.job.seq_length, options.job.model.vocab));
    if (weights) load_weights(trainer, *weights);
    if (state) resume_training(trainer, *state);
    while (trainer.steps_done() < course.end) {
      const double loss = trainer.run_step().loss;
      if (world.rank() == 0) outcome.losses.push_back(loss);
    }
    if (!course.save.empty()) save_training_state(trainer, course.save, 0, learnable_data);
    const std::lock_guard lock(mutex);
    collect_states(trainer, outcome.states);
  });
  return outcome;
}

}  // namespace kumihimo::testing
